"""Failure: why a recording or a unit went to quarantine, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failure, as it stands in the recordings manifest and in the table at the end of a run."""

    stage: str
    """name of the stage that gave up"""
    reason: str
    """short code, e.g. `empty_file`, `truncated`, `non_finite`"""
    error: str
    """exception class and message"""
    remedy: str
    """what the owner of the data can do"""


class StageError(Exception):
    """Raised by a stage for input that it cannot use. Carries the reason code and the remedy."""

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.reason, self.message, self.remedy = reason, message, remedy

    def __reduce__(self) -> tuple[type["StageError"], tuple[str, str, str]]:
        return (StageError, (self.reason, self.message, self.remedy))


def failure_of(stage: str, error: BaseException) -> Failure:
    """The failure that an exception stands for; an unforeseen one is reported as `unexpected`."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, StageError):
        return Failure(stage=stage, reason=error.reason, error=text, remedy=error.remedy)
    return Failure(
        stage=stage,
        reason="unexpected",
        error=text,
        remedy="run this recording alone with --log-level=DEBUG and report the traceback",
    )


class ModelError(RuntimeError):
    """A model that cannot be loaded. It ends the run: no recording is to blame, and every one would fail the same way."""


class WorkerLost(RuntimeError):
    """A worker process ended before its work was done. Nothing is lost: the next run reuses all finished units."""


class HandedOver(Exception):
    """No failure: the build was described, or given to a runner that goes on alone; nobody waits for its release here."""
