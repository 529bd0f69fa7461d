"""Audio files of every format, whole, in windows, and broken."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.checks import Limits
from voxbeam.transforms.audio.file import probe_file, read_mono

Writer = Callable[..., Path]
LIMITS = Limits(max_sample_rate=96_000, max_channels=2, min_duration_s=0.5, max_duration_s=86_400)
FORMATS = ("wav16", "wav24", "wavf", "flac", "vorbis", "opus", "mp3", "m4a")
TRACES = {"mp3": 1e-6, "opus": 5e-3}
"""what a seek leaves in the samples after it"""
LOSSLESS = ("wav16", "wav24", "wavf", "flac")


def read_whole(path: Path) -> NDArray[np.float32]:
    shape = probe_file(path, LIMITS)
    return read_mono(path, shape, 0, shape.frames)


def refused(path: Path) -> StageError:
    """The StageError that probing and reading a file whole ends in."""
    with pytest.raises(StageError) as caught:
        read_whole(path)
    assert caught.value.reason and caught.value.message and caught.value.remedy
    return caught.value


@pytest.mark.parametrize("kind", FORMATS)
def test_probe_tells_the_shape(kind: str, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind, rate=48_000, channels=2, seconds=5)
    shape = probe_file(path, LIMITS)
    assert (shape.sample_rate, shape.channels) == (48_000, 2)
    assert abs(shape.duration_ms - 5000) <= (0 if kind in LOSSLESS else 120)  # coders pad to whole frames


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_sounds_like_what_was_written(kind: str, tmp_path: Path, write_audio: Writer, speech: NDArray[np.float32]) -> None:
    got = read_whole(write_audio(tmp_path, kind))
    if kind in LOSSLESS:
        assert np.abs(got - speech).max() <= 1 / 32768
        return
    n = 1 << 16  # coders delay: compare where they fit best
    spectrum = np.fft.rfft(got[:n], 2 * n) * np.conj(np.fft.rfft(speech[:n], 2 * n))
    correlation = np.fft.irfft(spectrum).max() / np.linalg.norm(got[:n]) / np.linalg.norm(speech[:n])
    assert correlation > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_windows_equal_the_whole(kind: str, channels: int, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind, rate=24_000, channels=channels)
    shape = probe_file(path, LIMITS)
    whole = read_mono(path, shape, 0, shape.frames)
    for start, frames in ((1, 5000), (24_000, 240_000), (300_017, 100_000), (shape.frames - 777, 777)):
        got = read_mono(path, shape, start, frames)
        np.testing.assert_allclose(got, whole[start : start + frames], rtol=0, atol=TRACES.get(kind, 0))


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    sf.write(path, np.tile(np.float32([[0.5, -0.25]]), (16_000, 1)), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_whole(path), np.full(16_000, 0.125, np.float32))


def test_empty_file(tmp_path: Path) -> None:
    for name in ("a.wav", "a.m4a", "a.mp3"):
        (tmp_path / name).touch()
        assert refused(tmp_path / name).reason == "empty_file"


def test_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.wav").reason == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what it wants")
def test_unreadable_file(tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "flac")
    path.chmod(0)
    assert refused(path).reason == "unreadable"


def test_header_only(tmp_path: Path, write_audio: Writer) -> None:
    assert refused(write_audio(tmp_path, "wav16", seconds=0)).reason == "no_samples"


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_file_is_refused(kind: str, share: float, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    assert refused(path).reason in ("truncated", "corrupt", "not_audio", "no_samples")


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_never_crash(kind: str, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind, seconds=6)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(6):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 40):
            content[at] = rng.integers(256)
        path.write_bytes(bytes(content))
        try:
            assert np.isfinite(read_whole(path)).all()
        except StageError as error:
            assert error.reason and error.remedy


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.mp3", "text.ogg", "text.m4a"])
def test_text_is_not_audio(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("this is not audio\n" * 100)
    assert refused(tmp_path / name).reason in ("not_audio", "no_samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(value: float, tmp_path: Path, speech: NDArray[np.float32]) -> None:
    sound = speech.copy()
    sound[5000] = value
    sf.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    assert refused(tmp_path / "a.wav").reason == "non_finite"


@pytest.mark.parametrize(
    ("rate", "channels", "samples", "reason"),
    [
        (16_000, 8, 16_000, "channels"),
        (192_000, 1, 192_000, "sample_rate"),
        (16_000, 1, 1, "too_short"),
        (1, 1, 86_401, "too_long"),
    ],
)
def test_outside_the_limits(rate: int, channels: int, samples: int, reason: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros((samples, channels), np.float32), rate)
    assert refused(tmp_path / "a.wav").reason == reason


def test_wav_of_a_recorder_that_did_not_know_its_length(tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "wav16")
    content = bytearray(path.read_bytes())
    data = content.index(b"data")
    content[4:8] = content[data + 4 : data + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    assert len(read_whole(path)) == 480_000


def test_a_name_that_is_not_utf8_is_told_as_such(tmp_path: Path) -> None:
    """Listings have the replacement character in its place."""
    error = refused(tmp_path / "n\N{REPLACEMENT CHARACTER}ame.wav")
    assert error.reason == "unreadable" and "not UTF-8" in str(error.remedy)
    assert "exists" in str(refused(tmp_path / "name.wav").remedy)
