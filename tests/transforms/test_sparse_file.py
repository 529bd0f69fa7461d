"""Sparse files: the samples and the refusals of the whole file, of no more bytes than it takes."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.checks import AudioInfo
from voxbeam.transforms.audio.file import probe_file, read_mono
from voxbeam.transforms.audio.sparse_file import BLOCK, SparseFile, sequential_requests
from voxbeam.transforms.audio.window import decode
from voxbeam.transforms.decode import estimate_sandboxed, make_limits

from tests.conftest import FORMATS, Writer

pytestmark = pytest.mark.slow

LIMITS = make_limits(DecodeConfig())
LONG_S = 1800


class Stored:
    """A file as a store holds it, and a sparse one that stands for it; counts what is asked for."""

    def __init__(self, whole: Path, folder: Path) -> None:
        self.whole = whole
        self.path = folder / whole.name
        self.asked: list[tuple[int, int]] = []
        folder.mkdir(exist_ok=True)
        with self.path.open("wb") as file:
            file.truncate(whole.stat().st_size)

    def fill(self, start: int, length: int) -> None:
        self.asked.append((start, length))
        with self.whole.open("rb") as whole, self.path.open("r+b") as file:
            whole.seek(start)
            file.seek(start)
            file.write(whole.read(length))

    @property
    def file(self) -> SparseFile:
        return SparseFile(self.path, self.fill)

    @property
    def share(self) -> float:
        """Of the bytes, how many were asked for."""
        return sum(length for _, length in self.asked) / self.whole.stat().st_size

    def asked_once(self) -> bool:
        return all(a + length <= b for (a, length), (b, _) in pairwise(sorted(self.asked)))


def outcome(file: Path | SparseFile, whole: bool = True) -> tuple[str, str, str | None] | AudioInfo:
    """What decoding a file whole comes to."""
    try:
        shape = probe_file(file, LIMITS)
        read_mono(file, shape, 0, shape.frames)
        return shape
    except StageError as error:
        return error.reason, error.message, error.remedy


@pytest.fixture(scope="module")
def long_recordings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`long_recordings(suffix)`: half an hour at 16 kHz of noise that swells and fades."""
    folder = tmp_path_factory.mktemp("long")
    minute = np.random.default_rng(0).normal(0, 0.1, 960_000).astype(np.float32)

    def write(suffix: str) -> Path:
        path = folder / f"long.{suffix}"
        if not path.exists():
            with sf.SoundFile(path, "w", 16_000, 1) as file:
                for number in range(LONG_S // 60):
                    file.write(minute * (1 + number % 7) / 7)
        return path

    return write


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("place", ["beginning", "middle", "end"])
def test_a_window_has_the_samples_of_the_whole_file(kind: str, place: str, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind, rate=24_000, channels=2)
    stored = Stored(path, tmp_path / "sparse")
    end = probe_file(path, LIMITS).duration_ms
    info = probe_file(path, LIMITS)
    start, end = {"beginning": (0, 9000), "middle": (9000, 21_000), "end": (21_000, end)}[place]
    audio, peak = decode(path, info, start, end, 3000)
    same, same_peak = decode(stored.file, info, start, end, 3000)
    assert (same.start_ms, same.end_ms, same_peak) == (audio.start_ms, audio.end_ms, peak)
    np.testing.assert_array_equal(same.pcm16k, audio.pcm16k)
    np.testing.assert_array_equal(same.pcm24k, audio.pcm24k)
    assert stored.asked_once()


@pytest.mark.parametrize(
    ("suffix", "at_most"),
    [
        ("wav", 0.15),
        ("flac", 0.15),
        ("ogg", 0.25),
        ("mp3", 0.7),
    ],  # an MP3 has no index: its frames are counted from the beginning
)
def test_a_window_of_a_long_recording_asks_for_little(
    suffix: str, at_most: float, tmp_path: Path, long_recordings: Callable[[str], Path]
) -> None:
    """A minute in the middle of half an hour."""
    path = long_recordings(suffix)
    stored = Stored(path, tmp_path)
    window = (LONG_S // 2 * 1000, (LONG_S // 2 + 60) * 1000, 15_000)
    info = probe_file(path, LIMITS)
    same, _ = decode(stored.file, info, *window)
    audio, _ = decode(path, info, *window)
    np.testing.assert_array_equal(same.pcm16k, audio.pcm16k)
    assert stored.asked_once() and stored.share < at_most
    assert len(stored.asked) < 40


@pytest.mark.parametrize("size", [0, 1, BLOCK, 9 * BLOCK + 1, 90 * BLOCK])
def test_requests_are_foretold(size: int, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(bytes(size))
    stored = Stored(tmp_path / "whole", tmp_path / "sparse")
    with stored.file.open() as file:
        while file.read(10_000):
            pass
    assert len(stored.asked) == sequential_requests(size)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(st.tuples(st.integers(0, 40 * BLOCK), st.integers(0, 3 * BLOCK)), max_size=30))
def test_any_reads_get_the_bytes_and_none_twice(reads: list[tuple[int, int]], tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(33 * BLOCK + 777)
    (tmp_path / "whole").write_bytes(content)
    stored = Stored(tmp_path / "whole", tmp_path / "sparse")
    with stored.file.open() as file:
        for start, length in reads:
            file.seek(start)
            assert file.read(length) == content[start : start + length]
    assert stored.asked_once() and all(length > 0 for _, length in stored.asked)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_off_file_fails_the_same_way(kind: str, share: float, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    failure = outcome(path)
    assert isinstance(failure, tuple) and path.name in failure[1] and str(tmp_path) not in failure[1]
    assert outcome(Stored(path, tmp_path / "sparse").file) == failure


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.mp3", "text.ogg", "text.opus", "text.m4a"])
def test_text_fails_the_same_way(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("this is not audio\n" * 100)
    assert outcome(Stored(tmp_path / name, tmp_path / "sparse").file) == outcome(tmp_path / name)


@pytest.mark.parametrize("junk", [3, 1000, 100_000])
def test_what_is_judged_by_its_name_alone(junk: int, tmp_path: Path, write_audio: Writer) -> None:
    """libsndfile does not know such bytes, but it knows the suffix."""
    path = write_audio(tmp_path, "mp3")
    path.write_bytes(bytes(junk) + path.read_bytes())
    assert outcome(Stored(path, tmp_path / "sparse").file) == outcome(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_come_to_the_same(kind: str, tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, kind, seconds=6)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for number in range(4):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 40):
            content[at] = rng.integers(256)
        path.write_bytes(bytes(content))
        assert outcome(Stored(path, tmp_path / f"sparse{number}").file) == outcome(path)


def test_a_sparse_file_in_the_sandbox(tmp_path: Path, write_audio: Writer) -> None:
    stored = Stored(write_audio(tmp_path, "opus"), tmp_path / "sparse")
    info = estimate_sandboxed(stored.path, DecodeConfig(), stored.fill)
    assert info.duration_ms == probe_file(stored.whole, LIMITS).duration_ms and stored.share > 0
