"""Decode: the right length at both rates, windows that meet, and the sandbox around it all."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.unit import Unit
from voxbeam.storage.local_copies import sha256_of
from voxbeam.transforms.audio.file import probe_file, read_mono
from voxbeam.transforms.audio.window import decode
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.decode import DecodeAudio, decode_sandboxed, make_limits, probe_sandboxed

Writer = Callable[..., Path]
LIMITS = make_limits(DecodeConfig())
FORMATS = ("wav16", "wav24", "wavf", "flac", "vorbis", "opus", "mp3", "m4a")


def units_of(path: Path, config: DecodeConfig) -> list[Unit]:
    shape = probe_file(path, make_limits(config))
    source = SourceInfo(
        sha256=sha256_of(path),
        bytes=1,
        format=shape.format,
        sample_rate=shape.sample_rate,
        channels=shape.channels,
        frames=shape.frames,
        duration_ms=shape.duration_ms,
        decoder=shape.decoder,
    )
    return plan_windows(Recording(recording="r", uri=str(path)), source, config, "f")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 12_345]),
    frames=st.integers(12_345, 96_000),
    channels=st.integers(1, 2),
)
def test_length_is_right_at_both_rates(rate: int, frames: int, channels: int, tmp_path: Path) -> None:
    if frames < rate // 2:
        frames = rate // 2 + 1
    sound = np.random.default_rng(frames).normal(0, 0.1, (frames, channels)).astype(np.float32)
    sf.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    duration_ms = frames * 1000 // rate
    audio, peak = decode(tmp_path / "a.wav", probe_file(tmp_path / "a.wav", LIMITS), 0, duration_ms, 15_000)
    assert (audio.start_ms, audio.end_ms) == (0, duration_ms)
    assert (len(audio.pcm16k), len(audio.pcm24k)) == (duration_ms * 16, duration_ms * 24)
    assert audio.pcm16k.dtype == audio.pcm24k.dtype == np.float32
    assert peak == pytest.approx(np.abs(sound.mean(axis=1)).max(), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_neighbouring_windows_meet(kind: str, tmp_path: Path, write_audio: Writer) -> None:
    """Three windows over one file: each finds its edges alone, and together they are the whole file."""
    path = write_audio(tmp_path, kind, rate=16_000)
    shape = probe_file(path, LIMITS)
    whole = read_mono(path, shape, 0, shape.frames)
    edges = [shape.duration_ms * i // 3 for i in range(4)]
    windows = [decode(path, shape, a, b, 3000)[0] for a, b in pairwise(edges)]
    assert (windows[0].start_ms, windows[-1].end_ms) == (0, shape.duration_ms)
    for nominal, left, right in zip(edges[1:], windows, windows[1:], strict=False):
        assert left.end_ms == right.start_ms and abs(left.end_ms - nominal) <= 3000
    joined = np.concatenate([window.pcm16k for window in windows])
    np.testing.assert_allclose(joined, whole[: len(joined)], rtol=0, atol=5e-3 if kind == "opus" else 1e-6)
    assert len(joined) == shape.duration_ms * 16


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(window_s=st.floats(60, 120), margin_s=st.floats(1, 30), minutes=st.integers(1, 4))
def test_any_window_and_margin_that_the_configuration_allows(
    window_s: float, margin_s: float, minutes: int, tmp_path: Path, speech: NDArray[np.float32]
) -> None:
    try:
        config = DecodeConfig(window_s=window_s, margin_s=margin_s)
    except ValueError:
        return
    path = tmp_path / "long.wav"
    sf.write(path, np.tile(speech[::2], 2 * minutes + 1), 8000)
    at = 0
    info = probe_file(path, LIMITS)
    for unit in units_of(path, config):
        audio, _ = decode(path, info, unit.start_ms, unit.end_ms, unit.margin_ms)
        assert audio.start_ms == at <= audio.end_ms
        assert (len(audio.pcm16k), len(audio.pcm24k)) == tuple((audio.end_ms - audio.start_ms) * per_ms for per_ms in (16, 24))
        at = audio.end_ms
    assert at == unit.end_ms


def test_stage_fills_audio_through_the_sandbox(tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "flac", rate=44_100, channels=2)
    config = DecodeConfig()
    shape = probe_sandboxed(path, config)
    assert (shape.format, shape.sample_rate, shape.channels, shape.duration_ms) == ("flac", 44_100, 2, 30_000)
    (unit,) = units_of(path, config)
    work = DecodeAudio(config).run_timed(UnitState(unit=unit))
    assert work.failure is None and work.peak > 0.1
    direct, _ = decode(path, shape, 0, 30_000, 15_000)
    np.testing.assert_array_equal(work.require_audio().pcm24k, direct.pcm24k)


def test_bad_file_becomes_the_failure_of_its_unit(tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "flac")
    (unit,) = units_of(path, DecodeConfig())
    path.write_bytes(path.read_bytes()[:100_000])
    work = DecodeAudio(DecodeConfig()).run_timed(UnitState(unit=unit))
    assert work.failure is not None and work.audio is None
    assert (work.failure.stage, work.failure.reason) in {("decode", "truncated"), ("decode", "corrupt")}
    assert work.failure.remedy and "decode" in work.seconds


def test_a_file_that_is_replaced_after_probing(tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "flac")
    (unit,) = units_of(path, DecodeConfig())
    other = path.read_bytes()
    sf.write(path, sf.read(path)[0][::-1], 16_000)
    assert len(other) and sf.info(path).frames == unit.source.frames
    work = DecodeAudio(DecodeConfig()).run_timed(UnitState(unit=unit))
    assert work.failure is not None and work.failure.reason == "replaced" and work.audio is None


def test_probe_reports_bad_files_across_the_process_border(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio " * 50)
    with pytest.raises(StageError) as caught:
        probe_sandboxed(tmp_path / "text.wav", DecodeConfig())
    assert caught.value.reason == "not_audio"


@pytest.mark.slow
def test_too_little_memory_is_a_clean_failure(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    """Twenty minutes at 96 kHz in 700 MB."""
    path = tmp_path / "big.wav"
    sf.write(path, np.tile(np.repeat(speech, 6), 40), 96_000)
    config = DecodeConfig(memory_mb=700)
    (unit,) = units_of(path, config)
    with pytest.raises(StageError) as caught:
        decode_sandboxed(path, config, None, unit)
    assert caught.value.reason in ("decoder_memory", "decoder_crash")
    assert probe_sandboxed(path, config).duration_ms == 1_200_000
