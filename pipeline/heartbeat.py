"""Heartbeat: the driver's object in a run's progress. It says what the build makes and, by its age, whether it still runs."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from voxbeam.pipeline.progress import BUCKET_INTERVAL_S, BUILD_INFO
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store

log = logging.getLogger(__name__)
STALE_AFTER = timedelta(seconds=60)
"""a build whose driver and workers have written nothing for this long, several intervals, has stopped"""


@dataclass(frozen=True, kw_only=True)
class BuildInfo:
    """What a build makes."""

    recordings: int
    release: int
    """number of the release"""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """A build as other machines see it."""

    info: BuildInfo
    elapsed_s: float
    """from its start to the last write of its driver or of any of its workers"""
    silent: timedelta
    """time since that last write"""

    @property
    def running(self) -> bool:
        return self.silent < STALE_AFTER


@contextmanager
def heartbeat(store: Store, run_id: str, info: BuildInfo) -> Iterator[None]:
    """Writes the driver's object at intervals for as long as the context lasts."""
    stop = threading.Event()
    started = time.monotonic()

    def beat() -> None:
        while True:
            try:
                tree = {**asdict(info), "elapsed_s": time.monotonic() - started}
                store.replace(f"progress/{run_id}/{BUILD_INFO}", json.dumps(tree).encode())
            except StorageError as error:  # if the store stays unreachable, the build itself fails with a message
                log.warning("cannot write progress: %s", error)
            if stop.wait(BUCKET_INTERVAL_S):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def read_heartbeat(store: Store, run_id: str) -> Heartbeat | None:
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
    return Heartbeat(info=BuildInfo(**tree), elapsed_s=elapsed_s, silent=max(timedelta(), datetime.now(UTC) - last))
