"""Prefetch: runs a stage that needs no model on the next units in CPU threads, while the GPU works on the current one.

Without it the GPU would wait: a chain of ParDos processes one unit at a time, and a window must be fetched, decoded and resampled
first. Units leave some steps later than on a CPU, and so in another order than units that pass the stage as they are.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from voxbeam.transforms.base import RunStage, UnitStage, UnitState


class PrefetchStage(RunStage):
    """Runs a stage on up to `units` units of a bundle in threads, and yields the oldest when the next unit comes.

    So at most `units` results wait. A failure is handled as by RunStage. If a bundle fails, the runner starts it again with all
    of its units.
    """

    def __init__(self, stage: UnitStage, units: int) -> None:
        super().__init__(stage)
        self.units = units
        self.waiting: deque[tuple[WindowedValue, Future[UnitState]]] = deque()

    def setup(self) -> None:
        super().setup()
        self.threads = ThreadPoolExecutor(self.units, f"{self.stage.name}_prefetch")

    def start_bundle(self) -> None:
        for _, stale_future in self.waiting:  # of a bundle that failed
            stale_future.cancel()
        self.waiting.clear()

    def process(
        self, state: UnitState, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if state.result or state.failure or (state.earlier is not None and self.stage.name not in state.earlier.run):
            yield self.stage.run_timed(state)
            return
        self.waiting.append((WindowedValue(state, timestamp, (window,)), self.threads.submit(self.stage.run_timed, state)))
        if len(self.waiting) > self.units:
            yield self._pop_oldest()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self.waiting:
            yield self._pop_oldest()

    def teardown(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _pop_oldest(self) -> WindowedValue:
        value, running = self.waiting.popleft()
        done = running.result()
        self.report(value.value, done)
        return value.with_value(done)
