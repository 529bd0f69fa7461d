"""Heartbeat: the driver's object in a run's progress. It says what the build makes and, by its age, whether it still runs."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from voxbeam.pipeline.progress import BUCKET_INTERVAL_S, BUILD_INFO
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store

log = logging.getLogger(__name__)
STALE_AFTER = timedelta(seconds=60)
"""a build whose driver and workers have written nothing for this long, several intervals, has stopped"""
DETACHED_STALE_AFTER = timedelta(hours=1)
"""the same for a job that a cluster runs without its driver: its workers start late, and write after every stage of a unit"""


@dataclass(kw_only=True)
class BuildInfo:
    """What a build makes. The driver fills it in while it finds out."""

    recordings: int = 0
    release: int = 0
    """number of the release"""
    detached: bool = False
    """whether a cluster runs the job without its driver"""
    local: bool = False
    """whether its workers are processes of the driver, which end with it"""
    failed: bool = False
    """whether it ended with an error, and so does not run any more"""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """A build as other machines see it."""

    info: BuildInfo
    elapsed_s: float
    """from its start to the last write of its driver or of any of its workers"""
    silent: timedelta
    """time since that last write; less than nothing when the store's clock was set back"""
    ended: bool = False
    """whether its driver ended with an error, and no worker has written since"""

    @property
    def silent_s(self) -> float:
        """The same for people, in seconds: nothing instead of less."""
        return max(0.0, self.silent.total_seconds())

    @property
    def remaining(self) -> timedelta:
        """Time after which a build that writes nothing more counts as stopped; zero or less if it does now."""
        if self.ended:
            return timedelta()
        return (DETACHED_STALE_AFTER if self.info.detached else STALE_AFTER) - self.silent

    @property
    def running(self) -> bool:
        return self.remaining > timedelta()


@contextmanager
def heartbeat(store: Store, run_id: str, info: BuildInfo) -> Iterator[Callable[[], None]]:
    """Writes the driver's object now, and at intervals for as long as the context lasts; returns what writes it at once.

    A local build that ends with an error says so in it, and counts as stopped at once. Raises StorageError when the first write
    fails.
    """
    stop = threading.Event()
    started = time.monotonic()

    def write() -> None:
        tree = {**asdict(info), "elapsed_s": time.monotonic() - started}
        store.replace(f"progress/{run_id}/{BUILD_INFO}", json.dumps(tree).encode())

    def beat() -> None:
        while not stop.wait(BUCKET_INTERVAL_S):
            try:
                write()
            except StorageError as error:  # if the store stays unreachable, the build itself fails with a message
                log.warning("cannot write progress: %s", error)

    write()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield write
    except BaseException:
        info.failed = info.local
        raise
    finally:
        stop.set()
        thread.join()
        if info.failed:
            with suppress(StorageError):  # then it counts as stopped a minute later
                write()


def read_heartbeat(store: Store, run_id: str, now: datetime | None = None) -> Heartbeat | None:
    """The last heartbeat of a run; None if its driver has written none.

    The driver measures its own time, and the store's clock dates both its object and those of the workers, so that clocks of
    different machines need not agree. A job that runs detached on a cluster stays alive through its workers.
    """
    written = {path.rpartition("/")[2]: at for path, _, at in store.walk_with_mtime(f"progress/{run_id}/")}
    if BUILD_INFO not in written:
        return None
    try:
        tree = json.loads(store.get(f"progress/{run_id}/{BUILD_INFO}"))
    except (FileNotFoundError, ValueError):  # deleted, or being replaced at that moment
        return None
    last = max(written.values())
    elapsed_s = tree.pop("elapsed_s") + (last - written[BUILD_INFO]).total_seconds()
    info = BuildInfo(**tree)
    return Heartbeat(
        info=info,
        elapsed_s=elapsed_s,
        silent=(now or store.now()) - last,
        ended=info.failed and last == written[BUILD_INFO],
    )


def running_builds(store: Store) -> dict[str, timedelta]:
    """Runs that may still write, with the time after which each counts as stopped if it writes nothing more."""
    now = store.now()
    runs = sorted({path.split("/")[1] for path, _ in store.walk("progress/")})
    heartbeats = {run_id: read_heartbeat(store, run_id, now) for run_id in runs}
    return {run_id: beat.remaining for run_id, beat in heartbeats.items() if beat is not None and beat.running}
