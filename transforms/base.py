"""What all stages share: models loaded once per process, timing, counters, and failures that affect only their own unit.

All stages of a unit are ParDos in one chain, which a runner fuses: the waveform never crosses a shuffle.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics

from voxbeam.models.oom import empty_cuda_cache, is_out_of_memory
from voxbeam.models.threads import pin_threads
from voxbeam.models.voice_track import VoiceEvidence
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.errors import Failure, ModelError, StageError, StorageError, VoxbeamError
from voxbeam.schemas.segment import LocalSpeaker, Segment, Turn
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.store_errors import summarize_error
from voxbeam.transforms.reuse import EarlierUnit

log = logging.getLogger(__name__)
T = TypeVar("T")
OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """A unit and what the stages have found so far. Immutable: a stage returns a new one."""

    unit: Unit
    audio: Audio | None = None
    peak: float = 0.0
    """largest absolute sample"""
    turns: tuple[Turn, ...] = ()
    speakers: tuple[LocalSpeaker, ...] = ()
    mixed: tuple[tuple[int, int], ...] = ()
    """start and end in ms of the times in which a second voice is heard"""
    voices: VoiceEvidence | None = None
    """from `diarize` until `purity` has used it"""
    segments: tuple[Segment, ...] = ()
    """disjoint and in order of time; the time between them is not speech"""
    seconds: dict[str, float] = field(default_factory=dict)
    """wall time of each stage"""
    failure: Failure | None = None
    result: UnitResult | None = None
    """set if the unit's file is in the store already, from this run or an earlier one"""
    earlier: EarlierUnit | None = None
    """another unit of the same window, whose results stages take that need not run"""

    @property
    def edges_ms(self) -> tuple[int, int]:
        """Start and end after they moved to pauses, whether or not the sound had to be decoded."""
        known = self.audio or self.earlier or self.require_audio()
        return known.start_ms, known.end_ms

    def require_audio(self) -> Audio:
        """The decoded audio. Raises RuntimeError before the stage `decode`."""
        if self.audio is None:
            raise RuntimeError(f"unit {self.unit.name} of {self.unit.recording.recording} has not been decoded")
        return self.audio


MODEL_LOADS: Counter[str] = Counter()
"""how many times this process has loaded each model; reported with the progress"""


def once_per_process(loader: Callable[..., T]) -> Callable[..., T]:
    """Caches a loader by its (hashable) arguments; threads that call it meanwhile wait for the first load.

    Loads by functions named `load_<model>` are counted. An exception of the loader becomes a ModelError, which ends the run.
    """
    loaded: dict[Any, T] = {}
    model = loader.__name__.removeprefix("load_") if loader.__name__.startswith("load_") else None
    lock = threading.Lock()

    def load(*args: Any) -> T:
        with lock:
            if args not in loaded:
                try:
                    loaded[args] = loader(*args)
                except VoxbeamError:
                    raise
                except Exception as error:
                    raise ModelError(f"a model cannot be loaded: {loader.__name__}: {error}") from error
                if model:
                    MODEL_LOADS[model] += 1
                    Metrics.counter("models", model).inc()
            return loaded[args]

    return load


class StageListener(Protocol):
    """What is called in this process as units pass through stages, to report progress and errors."""

    def on_stage_done(self, stage: str, state: UnitState, seconds: float) -> None:
        """A unit left a stage after `seconds`; `state` is the state after it."""

    def on_error(self, error: VoxbeamError) -> None:
        """A stage raised an error that ends the run."""


_listener: StageListener | None = None


def set_stage_listener(listener: StageListener) -> None:
    """Sets the listener of this process."""
    global _listener
    _listener = listener


# One unit at a time uses the models of a process: torch, CTranslate2 and espeak are not safe to share between threads.
_models_lock = threading.RLock()


class UnitStage(beam.PTransform):
    """A stage of the chain. A subclass sets `name` and implements `run`.

    Example usage::

        class SegmentSpeech(UnitStage):
            name = "segment"

            def __init__(self, config: SegmentConfig) -> None:
                super().__init__()
                self.config = config

            def run(self, state: UnitState) -> UnitState:
                return replace(state, segments=segment_speech(state.turns, ...))
    """

    name: str
    lock: ClassVar[AbstractContextManager[Any]] = _models_lock
    """entered while `run` works on a unit"""

    def run(self, state: UnitState) -> UnitState:
        """Processes one unit. Raises StageError for input that cannot be used."""
        raise TypeError(f"{type(self).__name__} must define run")

    def run_timed(self, state: UnitState) -> UnitState:
        """Runs the stage on one unit, and records its wall time. Finished and failed units are returned as they are.

        A stage that need not run takes what an earlier unit knows instead. Any exception except ModelError and StorageError
        becomes the unit's `failure`.
        """
        if state.result or state.failure:
            return state
        if (known := _known(self.name, state)) is not None:
            return known
        started = time.perf_counter()
        try:
            with self.lock:
                done = self.run(state)
        except (ModelError, StorageError) as error:  # every unit would meet it
            if _listener is not None:
                _listener.on_error(error)
            raise
        except Exception as error:  # it concerns this unit only, and is reported in the release
            log.warning("%s: %s failed on window %d: %s", state.unit.recording.recording, self.name, state.unit.index, error)
            log.debug("traceback", exc_info=True)
            done = replace(state, audio=None, segments=(), failure=_failure(self.name, error))
        if done.failure and done.failure.reason == OUT_OF_MEMORY:
            empty_cuda_cache()
        seconds = time.perf_counter() - started
        return replace(done, seconds={**state.seconds, self.name: seconds})

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        return pcoll | self.name.capitalize() >> beam.ParDo(self.make_dofn()).with_output_types(UnitState)

    def make_dofn(self) -> "RunStage":
        """The DoFn that runs this stage."""
        return RunStage(self)


def _known(stage: str, state: UnitState) -> UnitState | None:
    """The state after a stage by what an earlier unit knows; None if the stage has to run."""
    earlier = state.earlier
    if earlier is None or stage in earlier.run:
        return None
    match stage:
        case "decode":
            return replace(state, peak=earlier.peak)
        case "diarize":
            return replace(state, turns=earlier.turns, speakers=earlier.speakers, mixed=earlier.mixed)
        case "segment":
            return replace(state, segments=earlier.cut())
    filled = earlier.fill(stage, state.segments)
    return replace(state, segments=filled) if filled is not None else None


def _failure(stage: str, error: Exception) -> Failure:
    """The failure of a unit. Running out of memory (already with batches of one, models/oom.py) has a remedy of its own."""
    if not is_out_of_memory(error):
        return Failure.from_exception(stage, error)
    text = f"{type(error).__name__}: {summarize_error(error)}"
    remedy = "lower decode.window_s, run fewer workers on the machine, or use a machine or GPU with more memory; then build again"
    return Failure.from_exception(stage, StageError(OUT_OF_MEMORY, text, remedy))


class RunStage(beam.DoFn):
    """Runs a stage on each unit, and reports to counters and listener."""

    def __init__(self, stage: UnitStage) -> None:
        self.stage = stage
        self.milliseconds = Metrics.distribution("stage_ms", stage.name)
        self.quarantined = Metrics.counter("quarantined", stage.name)

    def setup(self) -> None:
        pin_threads()

    def process(self, state: UnitState) -> Iterator[UnitState]:
        done = self.stage.run_timed(state)
        self.report(state, done)
        yield done

    def report(self, before: UnitState, after: UnitState) -> None:
        """Updates the counters and calls the listener, unless the stage did not run."""
        if after.seconds is before.seconds:
            return
        seconds = after.seconds[self.stage.name]
        self.milliseconds.update(int(seconds * 1000))
        self.quarantined.inc(int(after.failure is not None))
        if _listener is not None:
            _listener.on_stage_done(self.stage.name, after, seconds)
