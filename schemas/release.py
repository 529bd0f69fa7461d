"""Release: the one file that makes a build visible — every file of the corpus with its hash, and what it was made with."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from voxbeam.schemas.columns import require
from voxbeam.schemas.errors import SchemaError

TABLES = ("samples", "rejected", "recordings", "shards")


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """One file of a release."""

    path: str
    """below the corpus"""
    kind: str
    """`shard`, `phones`, or the table it is a part of"""
    sha256: str
    bytes: int
    rows: int
    """samples of a shard, rows of a table's part"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release. It holds no clock time: the same input, configuration and models give the same bytes."""

    VERSION: ClassVar[int] = 1

    number: int
    parent: int | None
    fingerprint: str
    """what its units were made with: configuration, models, code"""
    config: dict[str, Any]
    models: dict[str, str]
    """hash of every model, by its place in the configuration"""
    counts: dict[str, int]
    files: tuple[ReleaseFile, ...]

    @property
    def name(self) -> str:
        return f"{self.number:06d}"

    def of_kind(self, kind: str) -> list[ReleaseFile]:
        return [file for file in self.files if file.kind == kind]

    def to_json(self) -> bytes:
        return (json.dumps({"version": self.VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Release":
        """Raises SchemaError for what is not a release of this version."""
        try:
            tree = json.loads(content)
            version = tree.pop("version")
            require(version == cls.VERSION, f"release has format {version}, this voxbeam reads {cls.VERSION}")
            files = tuple(ReleaseFile(**file) for file in tree.pop("files"))
            return cls(files=files, **tree)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise error if isinstance(error, SchemaError) else SchemaError(f"not a release: {error}") from error
