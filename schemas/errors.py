"""Errors: one base class, the exit status and the remedy of each kind, and the record of a failed recording or unit."""

import json
from dataclasses import dataclass
from typing import ClassVar


class VoxbeamError(Exception):
    """Base of every error that voxbeam raises on purpose. `str(error)` is the message, then the remedy."""

    exit_status: ClassVar[int] = 2
    """exit status of a command that ends with this error; 2: the command, the configuration or the input cannot be used"""
    worker_log: str | None = None
    """local file with what the workers of a failed build wrote to standard error"""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def to_json(self) -> bytes:
        """The error as data, for another process."""
        return json.dumps({"error": type(self).__name__, **vars(self)}).encode()

    @staticmethod
    def from_json(content: bytes) -> "VoxbeamError":
        """An error of the same class as the one that `to_json` wrote. Raises ValueError or KeyError for anything else."""
        attributes = json.loads(content)
        kind = _all_errors()[attributes.pop("error")]
        error = kind.__new__(kind)
        error.args = (attributes["message"],)
        vars(error).update(attributes)
        return error


class ConfigError(VoxbeamError, ValueError):
    """A configuration that cannot be used. The message lists every wrong key."""


class AddressError(VoxbeamError, ValueError):
    """An address of something that voxbeam cannot read, such as a web page."""


class ListingError(VoxbeamError, ValueError):
    """An input without recordings, or a listing that cannot be read. The message names the row."""


class RunnerError(VoxbeamError, ValueError):
    """Options with which a Beam runner cannot work."""


class TruthError(VoxbeamError, ValueError):
    """A file of references that cannot be read, or that fits no recording of a corpus. The message names the line."""


class SchemaError(VoxbeamError, ValueError):
    """A record or a table that does not follow its schema. The message names the column."""


class DamagedUnitError(SchemaError):
    """A unit file whose bytes are not those that were written."""


class ModelError(VoxbeamError):
    """A model that cannot be loaded. It ends the run: every recording would fail the same way."""


class CheckpointError(VoxbeamError, ValueError):
    """A training checkpoint that cannot be used."""


class TrainingError(VoxbeamError):
    """A training run that cannot go on. Its checkpoints are good."""


class SynthesisError(VoxbeamError, ValueError):
    """A text or a prompt that cannot be synthesized."""


class QueryError(VoxbeamError, ValueError):
    """A query that the tables of a release cannot answer."""


class ConsentError(VoxbeamError):
    """A use of a voice that nobody allowed, or whose consent cannot be checked."""


class LedgerError(ConsentError):
    """A consent ledger that cannot be read, or is not what was written. Whatever asks it is refused."""


class StorageError(VoxbeamError, OSError):
    """A folder or bucket that cannot be used."""


class NotInCorpusError(VoxbeamError, KeyError):
    """A sample, split or column that a corpus does not have."""


class ObjectForbiddenError(StorageError):
    """One object that these credentials may not read."""


class EmptyReleaseError(VoxbeamError):
    """A build whose release would hold nothing of what was asked."""


class ObjectReplacedError(StorageError):
    """An object was overwritten while it was being read."""


class CommitConflictError(VoxbeamError):
    """Another build committed the same release number first. Nothing is lost: the next run reuses all finished units."""

    exit_status = 4

    @classmethod
    def of_release(cls, number: int) -> "CommitConflictError":
        """The error of the slower of two builds that both make this release."""
        return cls(
            f"release {number:06d} was committed by another build while this one ran",
            remedy="run the same command again: finished units are reused, and the result becomes the next release",
        )


class WorkerLostError(VoxbeamError):
    """A worker process ended before its work was done. Nothing is lost: the next run reuses all finished units."""

    exit_status = 5

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "finished units are kept: run the same command again, with fewer workers if memory is short",
    ) -> None:
        super().__init__(message, remedy=remedy)


class StageError(VoxbeamError):
    """Input that a stage cannot use. It quarantines a recording or a unit; the build goes on."""

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason

    def __reduce__(self) -> tuple[type["StageError"], tuple[str, str, str | None]]:
        return (StageError, (self.reason, self.message, self.remedy))


def _all_errors() -> dict[str, type[VoxbeamError]]:
    """Every error class by name."""
    found: dict[str, type[VoxbeamError]] = {}
    pending = [VoxbeamError]
    while pending:
        kind = pending.pop()
        found[kind.__name__] = kind
        pending += kind.__subclasses__()
    return found


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a recording or a unit is in quarantine, as the recordings manifest records it."""

    stage: str
    """stage that failed"""
    reason: str
    """short code, e.g. `empty_file`, `truncated`, `non_finite`"""
    error: str
    """exception class and message"""
    remedy: str
    """what the owner of the data can do"""

    @classmethod
    def from_exception(cls, stage: str, error: BaseException) -> "Failure":
        """The failure that an exception means. Any exception other than StageError has the reason `unexpected`."""
        if isinstance(error, StageError):
            return cls(
                stage=stage, reason=error.reason, error=f"{type(error).__name__}: {error.message}", remedy=str(error.remedy)
            )
        return cls(
            stage=stage,
            reason="unexpected",
            error=f"{type(error).__name__}: {error}",
            remedy="run this recording alone with --log-level=DEBUG and report the traceback",
        )
