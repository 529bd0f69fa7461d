"""Progress of a build: one small object per worker, which the worker overwrites; readers add the objects up.

The same objects feed the progress events of the build that runs here and `read_status` anywhere else, on any runner and any
storage.
"""

import heapq
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from voxbeam.pipeline.error_reports import report_error
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.storage.store import Store, is_bucket
from voxbeam.transforms.base import MODEL_LOADS, UnitState, once_per_process, set_stage_listener

LOCAL_INTERVAL_S = 1.0
BUCKET_INTERVAL_S = 10.0
"""how often a worker writes its progress"""
DONE = "done"
"""name of the audio whose units are written, among that of the stages"""
MAX_SLOWEST = 10
"""units that a build names as its slowest"""
BUILD_INFO = "build.json"
"""the driver's object beside those of the workers (pipeline/heartbeat.py)"""


def accumulate(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Adds sums by stage to a total, in place."""
    for stage, amount in more.items():
        total[stage] = total.get(stage, 0) + amount


@dataclass(frozen=True, kw_only=True)
class SlowUnit:
    """One of the slowest units of a build."""

    recording: str
    start_ms: int
    end_ms: int
    seconds: float
    """wall time in all stages"""
    stage: str
    """the slowest stage"""
    stage_seconds: float

    @classmethod
    def of(cls, work: UnitState) -> "SlowUnit":
        """The times of a unit that has passed its stages, or failed in one."""
        stage = max(work.seconds, key=work.seconds.__getitem__)
        return cls(
            recording=work.unit.recording.recording,
            start_ms=work.unit.start_ms,
            end_ms=work.unit.end_ms,
            seconds=round(sum(work.seconds.values()), 3),
            stage=stage,
            stage_seconds=round(work.seconds[stage], 3),
        )


@dataclass(kw_only=True)
class WorkerProgress:
    """Counts and sums of one worker process, or of all of them."""

    probed: int = 0
    """recordings whose bytes were read and hashed"""
    probed_ms: int = 0
    """duration of those recordings"""
    already_released_ms: int = 0
    """of which: in the previous release"""
    units: int = 0
    """units processed"""
    reused_units: int = 0
    """units that an earlier run had finished"""
    damaged_units: int = 0
    """unit files that did not match their checksum and are made again"""
    quarantined: int = 0
    audio_ms: dict[str, float] = field(default_factory=dict)
    """audio through each stage that ran; also under `done` (its unit is written), `reused` (it was before) and `failed`"""
    seconds: dict[str, float] = field(default_factory=dict)
    """wall time in each stage"""
    accepted_ms: int = 0
    rejected_ms: int = 0
    processes: int = 0
    """worker processes that did any of it"""
    loads: dict[str, float] = field(default_factory=dict)
    """how often those processes loaded each model"""
    slowest: list[SlowUnit] = field(default_factory=list)
    """the slowest units, slowest first"""

    @property
    def remaining_ms(self) -> float:
        """Audio that is probed but neither done, reused, released nor in quarantine."""
        settled = sum(self.audio_ms.get(name, 0) for name in ("reused", "failed", DONE))
        return max(0, self.probed_ms - self.already_released_ms - settled)

    def add(self, other: "WorkerProgress") -> None:
        """Adds another worker's counts, in place."""
        for name, mine in vars(self).items():
            more = getattr(other, name)
            if isinstance(mine, dict):
                accumulate(mine, more)
            elif isinstance(mine, list):
                setattr(self, name, heapq.nlargest(MAX_SLOWEST, mine + more, key=lambda unit: unit.seconds))
            else:
                setattr(self, name, mine + more)


class Reporter:
    """Counts the progress of this worker process and writes it at intervals."""

    def __init__(self, output: str, run_id: str) -> None:
        self.store, self.run_id = Store(output), run_id
        self.path = f"progress/{run_id}/{socket.gethostname()}-{os.getpid()}.json"
        self.progress = WorkerProgress(processes=1)
        self.interval_s = BUCKET_INTERVAL_S if is_bucket(output) else LOCAL_INTERVAL_S
        self._written = 0.0
        self._lock = threading.Lock()

    def update(self, change: WorkerProgress) -> None:
        """Adds a change; writes the sums if the interval has passed."""
        with self._lock:
            self.progress.add(change)
            if time.monotonic() - self._written > self.interval_s:
                self._write()

    def flush(self) -> None:
        """Writes the sums now."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self.progress.loads = dict(MODEL_LOADS)
        self.store.replace(self.path, json.dumps(asdict(self.progress)).encode())
        self._written = time.monotonic()

    def on_stage_done(self, stage: str, work: UnitState, seconds: float) -> None:
        """Counts one unit through one stage."""
        ms = work.unit.end_ms - work.unit.start_ms
        self.update(WorkerProgress(audio_ms={stage: ms}, seconds={stage: seconds}))

    def on_error(self, error: VoxbeamError) -> None:
        """Reports an error of a stage to the driver."""
        report_error(self.store, self.run_id, error)


@once_per_process
def get_reporter(output: str, run_id: str) -> Reporter:
    """This process's reporter for a run. From then on it counts every stage."""
    reporter = Reporter(output, run_id)
    set_stage_listener(reporter)
    return reporter


def read_progress(store: Store, run_id: str) -> WorkerProgress:
    """The sums of all workers of a run. Skips an object that is being replaced at that moment."""
    total = WorkerProgress()
    for path, _ in store.walk(f"progress/{run_id}/"):
        name = path.removeprefix(f"progress/{run_id}/")
        if name == BUILD_INFO or "/" in name:
            continue
        try:
            tree = json.loads(store.get(path))
        except (FileNotFoundError, ValueError):
            continue
        slowest = [SlowUnit(**unit) for unit in tree.pop("slowest")]
        total.add(WorkerProgress(**tree, slowest=slowest))
    return total


def clear_progress(store: Store, run_id: str) -> None:
    """Deletes every progress object of a run."""
    store.delete([path for path, _ in store.walk(f"progress/{run_id}/")])
