"""Measure: runs a measurement, times it, and turns a failure into a row, so that the next measurement goes on."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.gpu_parts.results import ResultsFile, Row, Scalar

Settings = Mapping[str, Scalar]


@dataclass(frozen=True)
class Measured:
    """A figure, its unit, and further readings."""

    value: float
    unit: str
    extra: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a part works with."""

    part: str
    out: Path
    file: ResultsFile
    device: torch.device
    dry_run: bool
    corpus: str = ""
    minutes: float = 0.0

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def measure(self, name: str, settings: Settings, function: Callable[[], Measured]) -> None:
        """Adds the row of one measurement, or a row with the error if it fails."""
        self.free_memory()
        resident = torch.cuda.memory_allocated() if self.cuda else 0
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        try:
            measured = function()
        except Exception as error:  # any error at all: it must not stop the measurements after it
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            self.skip(name, why, settings, time.perf_counter() - began)
            return
        extra = dict(measured.extra)
        if self.cuda:
            extra |= {"peak_bytes": torch.cuda.max_memory_allocated(), "resident_bytes": resident}
        self.file.add(
            Row(
                part=self.part,
                name=name,
                settings=dict(settings),
                value=measured.value,
                unit=measured.unit,
                extra=extra,
                seconds=time.perf_counter() - began,
            )
        )

    def skip(self, name: str, why: str, settings: Settings | None = None, seconds: float = 0.0) -> None:
        """Adds a row that says why there is no figure."""
        self.file.add(Row(part=self.part, name=name, settings=dict(settings or {}), error=why, seconds=seconds))

    def synchronize(self) -> None:
        """Waits until the device has finished its work."""
        if self.cuda:
            torch.cuda.synchronize()

    def free_memory(self) -> None:
        """Frees device memory that nothing refers to any more."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def time(self, function: Callable[[], object], *, min_s: float = 1.0, warm_ups: int = 2) -> float:
        """Mean seconds of a call, over as many calls as take `min_s` together. A dry run makes one call."""
        for _ in range(0 if self.dry_run else warm_ups):
            function()
        self.synchronize()
        began = time.perf_counter()
        function()
        self.synchronize()
        once = time.perf_counter() - began
        if self.dry_run:
            return once
        count = max(1, min(10_000, round(min_s / max(once, 1e-6))))
        began = time.perf_counter()
        for _ in range(count):
            function()
        self.synchronize()
        return (time.perf_counter() - began) / count
