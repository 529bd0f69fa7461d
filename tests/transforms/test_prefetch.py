"""Running ahead: the next units are ready while the chain works on one; nothing else is different."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile as sf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.local_copies import sha256_of
from voxbeam.transforms.base import RunStage, UnitStage, UnitState
from voxbeam.transforms.decode import DecodeAudio
from voxbeam.transforms.prefetch import PrefetchStage

AT_MOST_S = 60  # what a thread may wait for another one before the test fails


def unit(name: str, uri: str = "nowhere.wav", ms: int = 2000) -> Unit:
    source = SourceInfo(
        sha256=sha256_of(Path(uri)) if Path(uri).exists() else name * 8,
        bytes=1,
        format="wav",
        sample_rate=16_000,
        channels=1,
        duration_ms=ms,
        frames=16 * ms,
        decoder="libsndfile",
    )
    return Unit(
        recording=Recording(recording=name, uri=uri), source=source, index=0, start_ms=0, end_ms=ms, margin_ms=0, fingerprint="f"
    )


class Meeting(UnitStage):
    """Runs only where so many of its units are under way at once."""

    name = "meeting"
    lock = DecodeAudio.lock

    def __init__(self, units: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(units)

    def run(self, work: UnitState) -> UnitState:
        self.barrier.wait(AT_MOST_S)
        return work


class Counting(UnitStage):
    """Counts how many units it holds the results of; its own class knows, since Beam copies stages."""

    name = "counting"
    begun = 0
    """units that the stage has begun"""
    changed = threading.Condition()

    def run(self, work: UnitState) -> UnitState:
        with self.changed:
            type(self).begun += 1
            self.changed.notify_all()
        if work.unit.recording.recording == "bad":
            raise StageError("bad", "it is", "take it out")
        return work


def elements(do_fn: PrefetchStage, works: list[UnitState]) -> Iterator[UnitState]:
    """What a bundle of units comes to, one by one, as the next stage would be given them."""
    do_fn.start_bundle()
    for work in works:
        yield from (getattr(out, "value", out) for out in do_fn.process(work, window="w", timestamp=0))
    yield from (out.value for out in do_fn.finish_bundle())


@pytest.fixture
def counting() -> Iterator[type[Counting]]:
    Counting.begun = 0
    yield Counting


def test_the_next_units_run_while_the_chain_works_on_one(counting: type[Counting]) -> None:
    """The chain waits, in the midst of a unit, until the two after it have begun: no clock decides."""
    do_fn = PrefetchStage(counting(), units=2)
    do_fn.setup()
    works = [UnitState(unit=unit(f"r{i}")) for i in range(6)]
    for number, out in enumerate(elements(do_fn, works)):
        assert out.unit.recording.recording == f"r{number}"
        with counting.changed:
            ahead = min(number + 3, len(works))
            assert counting.changed.wait_for(lambda ahead=ahead: counting.begun >= ahead, AT_MOST_S)  # type: ignore[misc]
            assert counting.begun == ahead, "and no more than two"
    do_fn.teardown()


def test_units_without_a_model_run_side_by_side() -> None:
    do_fn = PrefetchStage(Meeting(units=2), units=2)
    do_fn.setup()
    assert len(list(elements(do_fn, [UnitState(unit=unit("a")), UnitState(unit=unit("b"))]))) == 2
    do_fn.teardown()


def test_done_and_failed_units_pass_by_at_once(counting: type[Counting]) -> None:
    do_fn = PrefetchStage(counting(), units=2)
    do_fn.setup()
    done = UnitState(unit=unit("done"), result=UnitResult(unit=unit("done"), start_ms=0, end_ms=2000))
    names = [
        out.unit.recording.recording for out in elements(do_fn, [UnitState(unit=unit("a")), done, UnitState(unit=unit("b"))])
    ]
    assert names == ["done", "a", "b"] and counting.begun == 2
    do_fn.teardown()


def test_what_a_dead_bundle_held_back_is_not_mixed_into_the_next(counting: type[Counting]) -> None:
    do_fn = PrefetchStage(counting(), units=2)
    do_fn.setup()
    begun = elements(do_fn, [UnitState(unit=unit(name)) for name in "abcd"])
    assert next(begun).unit.recording.recording == "a"  # and then the worker fails in a later stage
    again = [out.unit.recording.recording for out in elements(do_fn, [UnitState(unit=unit(name)) for name in "abcd"])]
    assert again == list("abcd")
    do_fn.teardown()


class Ahead(beam.PTransform):
    """A stage as `DecodeAudio` runs it on a GPU worker, and as it does elsewhere."""

    def __init__(self, stage: UnitStage, units: int) -> None:
        super().__init__()
        self.stage, self.units = stage, units

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        return pcoll | beam.ParDo(PrefetchStage(self.stage, self.units) if self.units else RunStage(self.stage))


class Fingerprint(beam.DoFn):
    """What a decoded unit is, with the window that it is in."""

    def process(self, work: UnitState, window: Any = beam.DoFn.WindowParam) -> Iterator[Any]:
        name, place = work.unit.recording.recording, (float(window.start), float(window.end))
        if work.failure:
            yield name, work.failure.stage, work.failure.reason, place
        else:
            yield name, work.require_audio().pcm16k.tobytes(), work.require_audio().pcm24k.tobytes(), place


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_same_sound_same_quarantine_same_windows(ahead: int, tmp_path: Path) -> None:
    units = []
    for number in range(7):
        path = tmp_path / f"{number}.wav"
        sound = np.random.default_rng(number).normal(0, 0.1, 16_000 * (number + 1)).astype(np.float32)
        sf.write(path, sound, 16_000, subtype="FLOAT")
        units.append(unit(f"r{number}", str(path), 1000 * (number + 1)))
    (tmp_path / "3.wav").write_bytes((tmp_path / "3.wav").read_bytes()[:1000])
    units.append(unit("missing", str(tmp_path / "nowhere.wav")))
    decode = DecodeAudio(DecodeConfig())
    expected = []
    for number, each in enumerate(units):
        work = decode.run_timed(UnitState(unit=each))
        place = (number // 3 * 30.0, number // 3 * 30.0 + 30.0)
        if work.failure:
            expected.append((each.recording.recording, "decode", work.failure.reason, place))
        else:
            expected.append(
                (each.recording.recording, work.require_audio().pcm16k.tobytes(), work.require_audio().pcm24k.tobytes(), place)
            )
    assert {row[2] for row in expected if row[1] == "decode"} == {"corrupt", "unreadable"}

    def as_expected(found: list[Any]) -> None:
        assert sorted(found) == sorted(expected)

    with beam.Pipeline(runner=FnApiRunner()) as root:
        found = (
            root
            | beam.Create([TimestampedValue(UnitState(unit=each), number * 10) for number, each in enumerate(units)])
            | beam.Map(lambda stamped: stamped)
            | beam.WindowInto(FixedWindows(30))
            | Ahead(decode, ahead)
            | beam.ParDo(Fingerprint())
        )
        assert_that(found, as_expected, reify_windows=False)


def test_decode_runs_ahead_on_a_gpu_only() -> None:
    assert isinstance(DecodeAudio(DecodeConfig(), "cuda").make_dofn(), PrefetchStage)
    assert not isinstance(DecodeAudio(DecodeConfig(), "cpu").make_dofn(), PrefetchStage)
