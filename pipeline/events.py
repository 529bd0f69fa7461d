"""Events: what `build` and `plan` pass to the caller's `on_progress` while they run."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from voxbeam.pipeline.progress import BUCKET_INTERVAL_S, WorkerProgress, read_progress
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store, is_bucket

log = logging.getLogger(__name__)
_LOCAL_EVENT_INTERVAL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """The state of a build at one moment."""

    phase: Literal["list", "hash_models", "run"]
    elapsed_s: float
    recordings: int = 0
    """recordings listed; 0 until they are"""
    workers: WorkerProgress = field(default_factory=WorkerProgress)
    message: str | None = None
    """news for the user: what changed since the previous release, the id of a Dataflow job"""


@dataclass(frozen=True, kw_only=True)
class PlanProgress:
    """The state of a plan at one moment."""

    phase: Literal["list", "probe", "measure"]
    done: int = 0
    """recordings probed or windows measured"""
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class VerifyProgress:
    """The state of a verification at one moment."""

    phase: Literal["read", "recheck", "rederive"]
    done: int = 0
    """recordings probed or units made again"""
    total: int = 0
    unreachable: int = 0
    """of which: those whose source cannot be reached"""


class BuildObserver:
    """Passes events to `on_progress`, from the thread of the build and, while the graph runs, from another."""

    def __init__(self, on_progress: Callable[[BuildProgress], None] | None) -> None:
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self.recordings = 0

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._started

    def report(
        self,
        phase: Literal["list", "hash_models", "run"],
        *,
        workers: WorkerProgress | None = None,
        message: str | None = None,
    ) -> None:
        """One event."""
        if self._on_progress is not None:
            self._on_progress(
                BuildProgress(
                    phase=phase,
                    elapsed_s=self.elapsed_s,
                    recordings=self.recordings,
                    workers=workers or WorkerProgress(),
                    message=message,
                )
            )

    @contextmanager
    def live_progress(self, store: Store, run_id: str) -> Iterator[None]:
        """Reports the workers' progress at intervals for as long as the context lasts."""
        if self._on_progress is None:
            yield
            return
        stop = threading.Event()
        interval_s = BUCKET_INTERVAL_S if is_bucket(store.root) else _LOCAL_EVENT_INTERVAL_S

        def watch() -> None:
            while not stop.wait(interval_s):
                try:
                    self.report("run", workers=read_progress(store, run_id))
                except StorageError as error:  # if the store stays unreachable, the build itself fails with a message
                    log.warning("cannot read progress: %s", error)
                except Exception:  # an error of the callback must not stop the build
                    log.exception("on_progress failed; no more progress is reported")
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
