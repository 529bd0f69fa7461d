"""Error reports: how an error that a worker raises reaches the driver as data.

A runner hands the driver text at best. So a step that raises a VoxbeamError first writes it as a small object into the run's
progress; the driver, when the runner fails, reads it and raises the same error.
"""

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from voxbeam.pipeline.job import Job
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.storage.store import Store

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


def report_error(store: Store, run_id: str, error: VoxbeamError) -> None:
    """Writes an error into the progress of a run."""
    content = error.to_json()
    path = f"progress/{run_id}/errors/{hashlib.sha256(content).hexdigest()[:16]}.json"
    try:
        store.replace(path, content)
    except VoxbeamError as failed:  # the store itself may be the reason of the error
        log.warning("cannot report an error: %s", failed)


def read_reported_error(store: Store, run_id: str) -> VoxbeamError | None:
    """The error of a run that was written last; None if its workers have reported none.

    Raises StorageError when the store cannot be read.
    """
    reports = sorted((written, path) for path, _, written in store.walk_with_mtime(f"progress/{run_id}/errors/"))
    return VoxbeamError.from_json(store.get(reports[-1][1])) if reports else None


@contextmanager
def reporting_errors(job: Job) -> Iterator[None]:
    """Reports a VoxbeamError that leaves the context."""
    try:
        yield
    except VoxbeamError as error:
        report_error(job.store, job.run_id, error)
        raise


def reports_errors(process: F) -> F:
    """Decorates the `process` of a DoFn that has a `job`: what it raises is reported."""

    @functools.wraps(process)
    def reporting(self: Any, element: Any) -> Iterator[Any]:
        with reporting_errors(self.job):
            yield from process(self, element)

    return reporting  # type: ignore[return-value]
