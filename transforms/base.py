"""Stage: what every step on a unit shares — once-per-process models, timing, counters, and failure that harms only its own unit.

All stages of a unit are ParDos in one chain, so a runner fuses them: the waveform never crosses a shuffle.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics

from voxbeam.models.oom import free_memory, out_of_memory
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.errors import Failure, ModelError, StageError
from voxbeam.schemas.segment import Segment, Turn, Voice
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.store import first_line

log = logging.getLogger(__name__)
T = TypeVar("T")
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, kw_only=True)
class UnitWork:
    """A unit on its way through the stages. Stages return a new one; they never change it in place."""

    unit: Unit
    audio: Audio | None = None
    peak: float = 0.0
    """largest absolute sample"""
    turns: tuple[Turn, ...] = ()
    voices: tuple[Voice, ...] = ()
    segments: tuple[Segment, ...] = ()
    """disjoint and in order of time; what lies between them is not speech"""
    seconds: dict[str, float] = field(default_factory=dict)
    """wall seconds that each stage took"""
    failure: Failure | None = None
    result: UnitResult | None = None
    """set when the unit's result lies in the store, from this run or an earlier one"""

    @property
    def sound(self) -> Audio:
        """The decoded audio; only stages after `decode` may ask for it."""
        if self.audio is None:
            raise RuntimeError(f"unit {self.unit.name} of {self.unit.recording.recording} has not been decoded")
        return self.audio


LOADS: Counter[str] = Counter()
"""how often this process has loaded each model; progress shows that it is once"""


def once_per_process(loader: Callable[..., T]) -> Callable[..., T]:
    """Caches a loader by its (hashable) arguments: threads wait for one load, every later call gets the same object.

    Loads by a `load_<model>` are counted. A loader that fails raises ModelError, which ends the run.
    """
    loaded: dict[Any, T] = {}
    model = loader.__name__.removeprefix("load_") if loader.__name__.startswith("load_") else None
    lock = threading.Lock()

    def load(*args: Any) -> T:
        with lock:
            if args not in loaded:
                try:
                    loaded[args] = loader(*args)
                except Exception as error:
                    raise ModelError(f"{loader.__name__}: {error}") from error
                if model:
                    LOADS[model] += 1
                    Metrics.counter("models", model).inc()
            return loaded[args]

    return load


Watcher = Callable[[str, UnitWork, float], None]
_watcher: Watcher | None = None


def watch_stages(watcher: Watcher) -> None:
    """Has `watcher(stage, unit after it, seconds)` called after every stage in this process; progress is made of it."""
    global _watcher
    _watcher = watcher


# One model set per process, one unit at a time through it: torch, CTranslate2 and espeak are not safe to share between threads.
_models_lock = threading.RLock()


class UnitStage(beam.PTransform):
    """A stage over units. A subclass names itself and says in `run` what it does to one unit.

    Example usage::

        class SegmentSpeech(UnitStage):
            name = "segment"

            def __init__(self, config: SegmentConfig) -> None:
                super().__init__()
                self.config = config

            def run(self, work: UnitWork) -> UnitWork:
                return replace(work, segments=segment_speech(work.turns, ...))
    """

    name: ClassVar[str]
    lock: ClassVar[AbstractContextManager[Any]] = _models_lock
    """held while a unit is in this stage"""

    def run(self, work: UnitWork) -> UnitWork:
        """One unit through this stage. Raises StageError for input that cannot be used."""
        raise TypeError(f"{type(self).__name__} must define run")

    def run_timed(self, work: UnitWork) -> UnitWork:
        """One unit through this stage, with its wall time; a failure becomes part of the work. Done and failed units pass by."""
        if work.result or work.failure:
            return work
        started = time.perf_counter()
        try:
            with self.lock:
                done = self.run(work)
        except ModelError:
            raise
        except Exception as error:  # any other failure belongs to this unit alone; it is reported, never lost
            log.warning("%s: %s gave up on window %d: %s", work.unit.recording.recording, self.name, work.unit.index, error)
            log.debug("traceback", exc_info=True)
            done = replace(work, audio=None, segments=(), failure=_failure(self.name, error))
        if done.failure and done.failure.reason == OUT_OF_MEMORY:
            free_memory()
        seconds = time.perf_counter() - started
        return replace(done, seconds={**work.seconds, self.name: seconds})

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        return pcoll | self.name.capitalize() >> beam.ParDo(self.at_work()).with_output_types(UnitWork)

    def at_work(self) -> "RunStage":
        """The DoFn that runs this stage."""
        return RunStage(self)


def _failure(stage: str, error: Exception) -> Failure:
    """What an exception came to; memory that ran out even for one item (`voxbeam.models.oom`) has a remedy of its own."""
    if not out_of_memory(error):
        return Failure.from_exception(stage, error)
    text = f"{type(error).__name__}: {first_line(error)}"
    remedy = "lower decode.window_s, run fewer workers beside it, or use a machine or GPU with more memory; then build again"
    return Failure.from_exception(stage, StageError(OUT_OF_MEMORY, text, remedy))


class RunStage(beam.DoFn):
    """A stage at work: counts, and tells who watches."""

    def __init__(self, stage: UnitStage) -> None:
        self.stage = stage
        self.milliseconds = Metrics.distribution("stage_ms", stage.name)
        self.quarantined = Metrics.counter("quarantined", stage.name)

    def setup(self) -> None:
        pin_threads()

    def process(self, work: UnitWork) -> Iterator[UnitWork]:
        done = self.stage.run_timed(work)
        self.tell(work, done)
        yield done

    def tell(self, before: UnitWork, after: UnitWork) -> None:
        """What the stage made of a unit, to the counters and to the watcher; nothing where it passed by."""
        if after is before:
            return
        seconds = after.seconds[self.stage.name]
        self.milliseconds.update(int(seconds * 1000))
        self.quarantined.inc(int(after.failure is not None))
        if _watcher is not None:
            _watcher(self.stage.name, after, seconds)
