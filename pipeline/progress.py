"""Progress: what every worker has done so far, as one small object a worker that it overwrites; readers add them up.
The driver has one too, which says what it set out to do and, by its age, whether it is still there.

The same objects feed the bars of the build that runs here and `status` anywhere else, on any runner and any storage.
"""

import heapq
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from obstore.exceptions import BaseError

from voxbeam.storage.store import Store, first_line, is_bucket
from voxbeam.transforms.base import LOADS, UnitWork, once_per_process, watch_stages

log = logging.getLogger(__name__)
_LOCAL_EVERY_S = 1.0
_BUCKET_EVERY_S = 10.0
SLOWEST = 10
"""units that a build names as its slowest"""
_HEAD = "build.json"
LOST_AFTER = timedelta(seconds=60)
"""a build whose driver and workers have said nothing for so long, which is several beats, is taken for dead"""


def add_up(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Adds a sum of each stage to a total."""
    for stage, amount in more.items():
        total[stage] = total.get(stage, 0) + amount


@dataclass(frozen=True, kw_only=True)
class SlowUnit:
    """A unit that took long."""

    recording: str
    start_ms: int
    end_ms: int
    seconds: float
    """wall seconds in all stages"""
    stage: str
    """the one that took longest"""
    stage_seconds: float

    @classmethod
    def of(cls, work: UnitWork) -> "SlowUnit":
        """A unit that has been through its stages, or failed in one."""
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
class Tallies:
    """Sums of one worker, or of all."""

    probed: int = 0
    """recordings whose bytes have been read and hashed"""
    probed_ms: int = 0
    """duration of the recordings probed so far"""
    kept_ms: int = 0
    """of which: in the release already"""
    units: int = 0
    reused_units: int = 0
    """units whose result lay there from an earlier run"""
    quarantined: int = 0
    audio_ms: dict[str, float] = field(default_factory=dict)
    """audio through each stage; also `reused` from an earlier run, and `failed`: no stage will see it again"""
    seconds: dict[str, float] = field(default_factory=dict)
    """wall seconds in each stage"""
    accepted_ms: int = 0
    rejected_ms: int = 0
    processes: int = 0
    """worker processes that did any of it"""
    loads: dict[str, float] = field(default_factory=dict)
    """how often those processes have loaded each model"""
    slowest: list[SlowUnit] = field(default_factory=list)
    """the units that took longest, longest first"""

    def add(self, other: "Tallies") -> None:
        for name, mine in vars(self).items():
            more = getattr(other, name)
            if isinstance(mine, dict):
                add_up(mine, more)
            elif isinstance(mine, list):
                setattr(self, name, heapq.nlargest(SLOWEST, mine + more, key=lambda unit: unit.seconds))
            else:
                setattr(self, name, mine + more)


class Reporter:
    """Keeps a worker's tallies and writes them now and then."""

    def __init__(self, output: str, run: str) -> None:
        self.store = Store(output)
        self.path = f"progress/{run}/{socket.gethostname()}-{os.getpid()}.json"
        self.tallies = Tallies(processes=1)
        self.every_s = _BUCKET_EVERY_S if is_bucket(output) else _LOCAL_EVERY_S
        self._written = 0.0
        self._lock = threading.Lock()

    def update(self, change: Tallies) -> None:
        """Adds to the tallies; writes them when the last time is long enough ago."""
        with self._lock:
            self.tallies.add(change)
            if time.monotonic() - self._written > self.every_s:
                self._write()

    def flush(self) -> None:
        """Writes the tallies now."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self.tallies.loads = dict(LOADS)
        self.store.replace(self.path, json.dumps(asdict(self.tallies)).encode())
        self._written = time.monotonic()

    def saw_stage(self, stage: str, work: UnitWork, seconds: float) -> None:
        ms = work.unit.end_ms - work.unit.start_ms
        change = Tallies(audio_ms={stage: ms}, seconds={stage: seconds})
        self.update(change)


@once_per_process
def reporter_of(output: str, run: str) -> Reporter:
    """This process's reporter for a run; from then on it sees every stage."""
    reporter = Reporter(output, run)
    watch_stages(reporter.saw_stage)
    return reporter


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a build set out to do."""

    recordings: int
    release: int
    """number of the release that it would make"""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A build as others see it: what it set out to do, and when it was last heard of."""

    head: Head
    elapsed_s: float
    """from its start to its last sign of life"""
    silent: timedelta
    """since the last sign of life of its driver or of any of its workers"""


@contextmanager
def beating(store: Store, run: str, head: Head) -> Iterator[None]:
    """Writes the head of a run again and again for as long as the context lasts."""
    stop = threading.Event()
    started = time.monotonic()

    def beat() -> None:
        while True:
            try:
                tree = {**asdict(head), "elapsed_s": time.monotonic() - started}
                store.replace(f"progress/{run}/{_HEAD}", json.dumps(tree).encode())
            except BaseError as error:  # the build itself will say so if the store is gone for good
                log.warning("cannot write progress: %s", first_line(error))
            if stop.wait(_BUCKET_EVERY_S):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def read_beat(store: Store, run: str) -> Beat | None:
    """How a run was last heard of; None for a run without a head.

    The driver measures its time by itself, and the store's clock dates both it and the workers, so that builds on
    machines whose clocks differ can be told apart; a job handed over to a cluster lives on in its workers.
    """
    written = {path.rpartition("/")[2]: at for path, _, at in store.walk_dated(f"progress/{run}/")}
    if _HEAD not in written:
        return None
    try:
        tree = json.loads(store.get(f"progress/{run}/{_HEAD}"))
    except (FileNotFoundError, ValueError):  # gone, or just being replaced
        return None
    last = max(written.values())
    elapsed_s = tree.pop("elapsed_s") + (last - written[_HEAD]).total_seconds()
    return Beat(head=Head(**tree), elapsed_s=elapsed_s, silent=max(timedelta(), datetime.now(UTC) - last))


def read_tallies(store: Store, run: str) -> Tallies:
    """The sums of all workers of a run. An object that is just being replaced is passed over."""
    total = Tallies()
    for path, _ in store.walk(f"progress/{run}/"):
        if path.endswith(f"/{_HEAD}"):
            continue
        try:
            tree = json.loads(store.get(path))
        except (FileNotFoundError, ValueError):
            continue
        slowest = [SlowUnit(**unit) for unit in tree.pop("slowest")]
        total.add(Tallies(**tree, slowest=slowest))
    return total


def clear_progress(store: Store, run: str) -> None:
    store.delete([path for path, _ in store.walk(f"progress/{run}/")])
