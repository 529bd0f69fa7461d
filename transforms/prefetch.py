"""Ahead: a stage that needs no model runs for the next units on CPU threads, while the models work on this one.

A GPU would wait otherwise: a chain of ParDos takes one unit at a time, and a window in a bucket must be fetched, decoded and
resampled first. The units of a bundle come out in another order than on a CPU, at most some steps later; nothing else changes.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from voxbeam.transforms.base import RunStage, UnitStage, UnitWork


class RunAhead(RunStage):
    """Runs a stage on up to `units` units of a bundle in threads, and hands on the oldest when another comes.

    So at most `units` results wait. One that fails fails as ever; a bundle that dies is begun again by the runner, and what
    it held back with it.
    """

    def __init__(self, stage: UnitStage, units: int) -> None:
        super().__init__(stage)
        self.units = units
        self.waiting: deque[tuple[WindowedValue, Future[UnitWork]]] = deque()

    def setup(self) -> None:
        super().setup()
        self.threads = ThreadPoolExecutor(self.units, f"{self.stage.name}_ahead")

    def start_bundle(self) -> None:
        for _, left_by_a_dead_bundle in self.waiting:
            left_by_a_dead_bundle.cancel()
        self.waiting.clear()

    def process(
        self, work: UnitWork, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        if work.result or work.failure:
            yield work
            return
        self.waiting.append((WindowedValue(work, timestamp, (window,)), self.threads.submit(self.stage.run_timed, work)))
        if len(self.waiting) > self.units:
            yield self._oldest()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self.waiting:
            yield self._oldest()

    def teardown(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _oldest(self) -> WindowedValue:
        given, running = self.waiting.popleft()
        done = running.result()
        self.tell(given.value, done)
        return given.with_value(done)
