"""Release: the file that publishes a build. It lists every file of the corpus with its hash, and how they were made."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from voxbeam.schemas.columns import require
from voxbeam.schemas.errors import SchemaError


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """One file of a release."""

    path: str
    """below the corpus"""
    kind: str
    """`shard`, `phones`, or the name of the table that it is a part of (schemas/manifest.py: TABLES)"""
    sha256: str
    bytes: int
    rows: int
    """samples of a shard, or rows of a part of a table"""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release. It contains no time stamp: the same input, configuration and models give the same bytes."""

    VERSION: ClassVar[int] = 1

    number: int
    parent: int | None
    """number of the previous release"""
    fingerprint: str
    """of the configuration, models and code that made its units"""
    config: dict[str, Any]
    models: dict[str, str]
    """hash of every model, by its key in the configuration"""
    counts: dict[str, int]
    files: tuple[ReleaseFile, ...]

    @property
    def name(self) -> str:
        return f"{self.number:06d}"

    def files_of_kind(self, kind: str) -> list[ReleaseFile]:
        return [file for file in self.files if file.kind == kind]

    def to_json(self) -> bytes:
        return (json.dumps({"version": self.VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Release":
        """Raises SchemaError if the content is not a release of this version."""
        try:
            tree = json.loads(content)
            version = tree.pop("version")
            require(version == cls.VERSION, f"the release has format {version}, this voxbeam reads {cls.VERSION}")
            files = tuple(ReleaseFile(**file) for file in tree.pop("files"))
            return cls(files=files, **tree)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise error if isinstance(error, SchemaError) else SchemaError(f"not a release: {error}") from error
