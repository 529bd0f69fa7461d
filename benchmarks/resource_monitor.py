"""Monitors a command: wall time, processor time and memory of each step that it reports, over all its processes."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

EVERY_S = 0.25


@dataclass
class Step:
    """Resources of one step. Memory is resident size: of the first process, of the largest other one, and of all."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    driver_gb: float = 0.0
    worker_gb: float = 0.0
    all_gb: float = 0.0


def tell(**what: Any) -> None:
    """Reports to the monitoring process: `step=…` begins a step, anything else is a result."""
    print(json.dumps({"at": time.perf_counter(), **what}), flush=True)


@dataclass
class Watched:
    """A command's steps and results, growing while it runs."""

    steps: dict[str, Step] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now: str | None = None
        self._since = 0.0
        self._cpu: dict[int, float] = {}

    def run(self, command: list[str], meanwhile: Callable[[], None], as_one: str | None = None) -> None:
        """Runs a command to its end; `meanwhile` is called four times a second. With `as_one`, all of it is one step."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        listener = threading.Thread(target=self._listen, args=(process, as_one))
        listener.start()
        while process.poll() is None:
            self._look(process.pid)
            meanwhile()
            time.sleep(EVERY_S)
        listener.join()
        self._end(time.perf_counter())
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with status {process.returncode}")

    def _listen(self, process: Any, as_one: str | None) -> None:
        for line in process.stdout:
            told = json.loads(line)
            at, step = told.pop("at"), told.pop("step", None)
            self.results |= told
            if step and (as_one or step) != self.now:
                self._end(at)
                self.now, self._since = as_one or step, at
                self.steps.setdefault(self.now, Step())

    def _end(self, at: float) -> None:
        if self.now:
            self.steps[self.now].wall_s += at - self._since
            self.now = None

    def _look(self, pid: int) -> None:
        sizes: dict[int, float] = {}
        spent = 0.0
        for process in _family(pid):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    sizes[process.pid] = process.memory_info().rss / 1e9
            except psutil.Error:
                continue  # it ended between two looks
            cpu = times.user + times.system
            spent += cpu - self._cpu.get(process.pid, 0.0)
            self._cpu[process.pid] = cpu
        step = self.steps.get(self.now or "")
        if step and sizes:
            step.cpu_s += spent
            step.driver_gb = max(step.driver_gb, sizes.get(pid, 0.0))
            step.worker_gb = max([step.worker_gb, *(size for other, size in sizes.items() if other != pid)])
            step.all_gb = max(step.all_gb, sum(sizes.values()))


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
