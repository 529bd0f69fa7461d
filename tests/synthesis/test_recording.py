"""A recording that is edited keeps its rate, channels and sample format, and every sample outside of the edit."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.schemas.errors import SynthesisError
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_16", 44_100, 2),
        ("a.wav", "PCM_24", 48_000, 1),
        ("a.wav", "PCM_32", 16_000, 3),
        ("a.wav", "PCM_U8", 8000, 1),
        ("a.wav", "FLOAT", 22_050, 2),
        ("a.wav", "DOUBLE", 24_000, 1),
        ("a.flac", "PCM_16", 44_100, 2),
        ("a.flac", "PCM_24", 96_000, 1),
        ("a.aiff", "PCM_24", 44_100, 2),
    ],
)
def test_outside_of_the_edit_every_bit_is_kept(tmp_path: Path, name: str, subtype: str, rate: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, (2 * rate, channels))
    sf.write(tmp_path / name, noise, rate, subtype=subtype)
    recording = Recording.read(tmp_path / name)
    assert len(recording.wave_S) == pytest.approx(48_000, abs=2) and recording.wave_S.std() > 0.05
    new_S = rng.normal(0, 0.2, 24_000).astype(np.float32)
    (tmp_path / "out").mkdir()
    recording.splice(new_S, 0.5, 0.8).write(tmp_path / "out" / name)
    before, after = (sf.SoundFile(folder / name) for folder in (tmp_path, tmp_path / "out"))
    assert (after.samplerate, after.channels, after.subtype, after.format) == (rate, channels, subtype, before.format)
    kind = "float64" if subtype in ("FLOAT", "DOUBLE") else "int32"
    old, new = (file.read(dtype=kind, always_2d=True) for file in (before, after))
    start, end = round(0.5 * rate), round(0.8 * rate)
    assert len(new) == pytest.approx(start + rate + len(old) - end, abs=2)
    assert np.array_equal(new[:start], old[:start])
    assert np.array_equal(new[len(new) - (len(old) - end) :], old[end:])
    assert not np.array_equal(new[start : start + 1000], old[start : start + 1000])


@settings(deadline=None)
@given(st.integers(0, 900), st.integers(0, 900), st.integers(0, 2000), st.integers(0, 100))
def test_any_span_can_be_replaced(start: int, length: int, made: int, beyond: int) -> None:
    rng = np.random.default_rng(0)
    recorded, made_S = rng.normal(size=(1000, 1)).astype(np.float32), rng.normal(size=made).astype(np.float32)
    end = min(start + length, 1000 + beyond)
    spliced = Recording(recorded, 24_000, "FLOAT").splice(made_S, start / 24_000, end / 24_000).samples_SC
    assert len(spliced) == start + made + max(0, 1000 - end)
    assert np.array_equal(spliced[:start], recorded[:start])
    assert np.array_equal(spliced[start + made :], recorded[end:])


def test_at_the_edges_the_recording_goes_over_into_what_was_made() -> None:
    ones = Recording(np.ones((10_000, 1), np.float32), 24_000, "FLOAT")
    spliced = ones.splice(np.zeros(5000, np.float32), 2000 / 24_000, 6000 / 24_000).samples_SC[:, 0]
    assert np.abs(np.diff(spliced)).max() < 0.01 and spliced[4000] == 0


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_a_prompt_is_the_beginning_of_the_whole_recording(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.random.default_rng(0).normal(0, 0.2, (5 * rate, 2)), rate)
    prompt, whole = Prompt.read(path, seconds=1.5), Prompt.read(path, seconds=5)
    assert len(prompt.wave_S) == 36_000 and np.array_equal(prompt.wave_S, Recording.read(path).wave_S[:36_000])
    assert prompt.is_cut and not whole.is_cut


def test_what_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "me.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    with pytest.raises(SynthesisError, match=r"not read here; convert it first: ffmpeg -i me\.m4a me\.wav"):
        Recording.read(tmp_path / "me.m4a")
    with pytest.raises(SynthesisError, match=r"there is no file .*missing\.wav; check its name"):
        Recording.read(tmp_path / "missing.wav")
