"""The zoo of lengths: every file is read at its true length, or quarantined for a reason that fits."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.transforms.audio.checks import AudioInfo, Limits
from voxbeam.transforms.audio.file import estimate_file, probe_file, read_channels, read_mono

from tests.cases import times, zoo

LIMITS = Limits(max_sample_rate=96_000, max_channels=2, min_duration_s=0.5, max_duration_s=86_400)
TOLERANCE_S = 0.05
Wave = NDArray[np.float32]
Found = dict[str, AudioInfo | StageError]


@pytest.fixture(scope="module")
def animals(speech: Wave) -> list[zoo.Animal]:
    return list(zoo.animals(speech[8 * zoo.RATE : 15 * zoo.RATE]))


@pytest.fixture(scope="module")
def files(animals: list[zoo.Animal], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("zoo")
    for animal in animals:
        (folder / animal.name).write_bytes(animal.content)
    return {animal.name: folder / animal.name for animal in animals}


@pytest.fixture(scope="module")
def found(files: dict[str, Path]) -> Found:
    """What probing makes of every file."""

    def probed(path: Path) -> AudioInfo | StageError:
        try:
            return probe_file(path, LIMITS)
        except StageError as error:
            return error

    return {name: probed(path) for name, path in files.items()}


@pytest.mark.slow
def test_the_zoo_is_large(animals: list[zoo.Animal]) -> None:
    assert len(animals) == len({animal.name for animal in animals}) >= 150


@pytest.mark.slow
def test_every_file_has_its_outcome(animals: list[zoo.Animal], files: dict[str, Path], found: Found) -> None:
    wrong = {}
    for animal in animals:
        info, fits = found[animal.name], False
        if isinstance(info, StageError):
            fits = info.reason in animal.reasons and bool(info.remedy)
        elif animal.sound is not None:
            true_s = len(animal.sound) / zoo.RATE
            fits = -TOLERANCE_S <= info.frames / info.sample_rate - true_s <= TOLERANCE_S + animal.padding_s
        if not fits:
            expected_s = None if animal.sound is None else len(animal.sound) / zoo.RATE
            wrong[animal.name] = f"{info!r}, expected {expected_s} s or {animal.reasons}"
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


@pytest.mark.slow
def test_a_plan_estimates_lengths_without_decoding(animals: list[zoo.Animal], files: dict[str, Path], found: Found) -> None:
    """Within 15 % for every file that a build can use: a header that states no length, or a wrong one, is not believed.

    FFmpeg's time of AAC is wrong behind a change of rate, and Matroska states the length of the first of two joined files.
    """
    wrong = {}
    for animal in animals:
        info = found[animal.name]
        if isinstance(info, StageError) or animal.name.startswith("adts_joined_rates") or animal.name == "aac_joined.mka":
            continue
        true_s = info.frames / info.sample_rate
        try:
            estimate = estimate_file(files[animal.name], LIMITS)
        except StageError as error:
            wrong[animal.name] = f"{error.reason}, true {true_s:.2f} s"
            continue
        if abs(estimate.frames / estimate.sample_rate / true_s - 1) > 0.15:
            wrong[animal.name] = f"{estimate.frames / estimate.sample_rate:.2f} s, true {true_s:.2f} s"
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


@pytest.mark.slow
def test_sounds_like_what_was_written(animals: list[zoo.Animal], files: dict[str, Path], found: Found) -> None:
    wrong = {}
    for animal in animals:
        info = found[animal.name]
        if isinstance(info, StageError) or animal.sound is None:
            continue
        sound = soxr.resample(read_mono(files[animal.name], info, 0, info.frames), info.sample_rate, zoo.RATE)
        if (alike := likeness(sound, animal.sound)) < (0.9 if animal.name not in times.ROUGH else 0.5):
            wrong[animal.name] = alike
    assert not wrong


def likeness(a: Wave, b: Wave) -> float:
    """Correlation of the levels over time of two sounds, at the best of the offsets that coders have; 1 for equal ones.

    Of stretches of one second the third worst: two may lie across the place where files were joined.
    """

    def levels(sound: Wave) -> Wave:
        frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
        return np.log10(np.square(frames).mean(axis=1) + 1e-5)

    def best(part: Wave, start: int) -> float:
        places = range(max(0, start - 30), min(start + 60, len(x) - len(part) + 1))
        return max(float(np.corrcoef(x[at : at + len(part)], part)[0, 1]) for at in places)

    x, y = levels(a), levels(b)
    return sorted(best(y[start : start + 100], start) for start in range(30, len(y) - 110, 50))[2]


@pytest.mark.slow
def test_windows_equal_the_whole(animals: list[zoo.Animal], files: dict[str, Path], found: Found) -> None:
    """Up to what a seek leaves in the samples after it: Opus and Vorbis overlap their blocks, MP3 has a reservoir."""
    wrong = {}
    for animal in animals:
        path, info = files[animal.name], found[animal.name]
        if isinstance(info, StageError):
            continue
        whole = read_channels(path, info, 0, info.frames)
        for start, frames in ((1, 5000), (info.frames // 3 + 17, info.frames // 3), (info.frames - 777, 777)):
            differs = float(np.abs(read_channels(path, info, start, frames) - whole[:, start : start + frames]).max())
            exact = info.decoder == "ffmpeg" or info.format not in ("mp3", "ogg", "mpeg")
            if differs > (0 if exact else 6e-3):
                wrong[animal.name] = (info.decoder, start, differs)
    assert not wrong


def test_every_suffix_of_the_zoo_is_looked_for(animals: list[zoo.Animal]) -> None:
    assert {Path(animal.name).suffix for animal in animals} <= AUDIO_SUFFIXES


@pytest.mark.peers
def test_as_long_as_ffmpeg_decodes_it(animals: list[zoo.Animal], files: dict[str, Path], found: Found) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the program ffmpeg")
    wrong = {}
    for animal in animals:
        info = found[animal.name]
        if isinstance(info, StageError) or animal.name.startswith(times.WITH_GAPS):
            continue
        ours_s = info.frames / info.sample_rate
        theirs_s = ffmpeg_seconds(files[animal.name], info.sample_rate)
        true_s = len(animal.sound) / zoo.RATE if animal.sound is not None else 0.0
        if abs(ours_s - theirs_s) > TOLERANCE_S and not true_s - TOLERANCE_S <= ours_s <= max(true_s + TOLERANCE_S, theirs_s):
            wrong[animal.name] = (ours_s, theirs_s)
    assert not wrong


def ffmpeg_seconds(path: Path, rate: int) -> float:
    """How many seconds of sound the program `ffmpeg` makes of a file."""
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-nostdin",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-ac",
        "1",
        "-ar",
        str(rate),
        "-f",
        "s16le",
        "-",
    ]
    return len(subprocess.run(command, capture_output=True, check=False).stdout) / 2 / rate


def test_what_sox_writes_into_a_pipe_and_a_codec_that_nobody_knows(speech: Wave, tmp_path: Path) -> None:
    """SoX states 0x7F000000 bytes in AIFF that it cannot rewind; a WAV may name any number as its codec."""
    sf.write(tmp_path / "a.aiff", speech[: 3 * zoo.RATE], zoo.RATE)
    content = bytearray((tmp_path / "a.aiff").read_bytes())
    place = content.index(b"SSND") + 4
    content[place : place + 4] = (0x7F000008).to_bytes(4, "big")
    (tmp_path / "a.aiff").write_bytes(content)
    assert abs(probe_file(tmp_path / "a.aiff", LIMITS).duration_ms - 3000) < 50
    sf.write(tmp_path / "a.wav", speech[: 3 * zoo.RATE], zoo.RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[20:22] = b"\x34\x12"
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(StageError, match="codec that FFmpeg does not know") as caught:
        probe_file(tmp_path / "a.wav", LIMITS)
    assert caught.value.reason == "not_audio"
