"""Release: the file that publishes a build. It lists every file of the corpus with its hash, and how they were made."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from voxbeam.schemas.columns import require
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.formats import codec_stage
from voxbeam.schemas.manifest import TABLES

KINDS = frozenset({"shard", "shard_list", "phones", "card", "croissant", *TABLES})
MAX_BYTES = 1 << 30
"""a release of 12 million samples takes 1 MB"""
_PATH = re.compile(r"(shards|manifests)(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """One file of a release."""

    path: str
    """below the corpus"""
    kind: str
    """`shard`, `shard_list`, `phones`, `card`, `croissant`, or the name of the table that it is a part of
    (schemas/manifest.py: TABLES)"""
    sha256: str
    bytes: int
    rows: int
    """samples of a shard, phones, lines of a list, a card or a description, or rows of a part of a table"""

    def check(self) -> "ReleaseFile":
        """Raises SchemaError unless every field has its type and the path is below the corpus."""
        require(
            isinstance(self.path, str) and bool(_PATH.fullmatch(self.path)), f"{self.path!r} is not a path of a file of a release"
        )
        require(isinstance(self.kind, str) and self.kind in KINDS, f"{self.path}: kind {self.kind!r} is none of {sorted(KINDS)}")
        require(isinstance(self.sha256, str) and bool(_SHA256.fullmatch(self.sha256)), f"{self.path}: its SHA-256 is not one")
        require(_is_count(self.bytes) and _is_count(self.rows), f"{self.path}: bytes and rows must be numbers of 0 or more")
        return self


@dataclass(frozen=True, kw_only=True)
class FeedHead:
    """How far somebody has read a feed of tombstones (safety/tombstones.py)."""

    count: int
    """tombstones; at least one"""
    digest: str
    """a hash of all of them, in order"""

    def check(self) -> "FeedHead":
        """Raises SchemaError unless both fields have their type."""
        require(_is_count(self.count) and self.count > 0, f"it saw {self.count!r} tombstones")
        require(isinstance(self.digest, str) and bool(_SHA256.fullmatch(self.digest)), "the hash of its tombstones is none")
        return self


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release. It contains no time stamp: the same input, configuration and models give the same bytes."""

    VERSION: ClassVar[int] = 2

    number: int
    parent: int | None
    """number of the previous release"""
    code_version: int
    """of the stages that made its units"""
    fingerprint: str
    """of the configuration, models and code that made its units"""
    config: dict[str, Any]
    models: dict[str, str]
    """hash of every model, by its key in the configuration"""
    counts: dict[str, int]
    labels: dict[str, float] = field(default_factory=dict)
    """what is estimated of its identities (transforms/identity/estimate.py), and how many changed since the previous release"""
    files: tuple[ReleaseFile, ...]
    tombstones: FeedHead | None = None
    """what it saw of the tombstones of its corpus when it was committed; None if there were none. Only then it is written"""

    @property
    def name(self) -> str:
        return f"{self.number:06d}"

    @property
    def codecs(self) -> tuple[str, ...]:
        """The names of its further codecs."""
        return tuple(sorted(self.config.get("codecs", {})))

    def codec(self, name: str | None = None) -> tuple[str, str]:
        """Where the build read the weights of a further codec, or of the first, and their SHA-256."""
        if name is None:
            return str(self.config["tokenize"]["codec"]), self.models["tokenize"]
        return str(self.config["codecs"][name]["codec"]), self.models[codec_stage(name)]

    def files_of_kind(self, kind: str) -> list[ReleaseFile]:
        return [file for file in self.files if file.kind == kind]

    def to_json(self) -> bytes:
        tree = {"version": self.VERSION, **asdict(self)}
        if self.tombstones is None:
            del tree["tombstones"]
        return (json.dumps({**tree, "sha256": _checksum(tree)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Release":
        """Raises SchemaError if the content is not a release of this version, whole and unchanged."""
        require(len(content) <= MAX_BYTES, f"a release has at most {MAX_BYTES} bytes, not {len(content)}")
        try:
            tree = json.loads(content)
            version, checksum = tree.pop("version"), tree.pop("sha256", None)
            if version != cls.VERSION:
                raise SchemaError(
                    f"the release has format {version!r}, this voxbeam reads {cls.VERSION}",
                    remedy="read it with the voxbeam that made it; if none made this format, run `voxbeam verify --repair`",
                )
            require(
                checksum == _checksum({"version": version, **tree}), "the release does not match its own checksum: it was changed"
            )
            files = tuple(ReleaseFile(**file).check() for file in tree.pop("files"))
            head = FeedHead(**tree.pop("tombstones")).check() if "tombstones" in tree else None
            return cls(files=files, tombstones=head, **tree)._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise error if isinstance(error, SchemaError) else SchemaError(f"not a release: {error}") from error

    def _check(self) -> "Release":
        require(_is_count(self.number) and self.number > 0, f"number {self.number!r} is not that of a release")
        require(
            self.parent is None or (_is_count(self.parent) and 0 < self.parent < self.number),
            f"release {self.number} cannot follow release {self.parent!r}",
        )
        require(_is_count(self.code_version), f"code version {self.code_version!r} is not a number")
        require(isinstance(self.fingerprint, str), "the fingerprint is not text")
        require(isinstance(self.config, dict), "the configuration is not an object")
        require(isinstance(self.models, dict) and all(isinstance(m, str) for m in self.models.values()), "models must be text")
        require(
            isinstance(self.counts, dict) and all(map(_is_count, self.counts.values())), "counts must be numbers of 0 or more"
        )
        require(
            isinstance(self.labels, dict) and all(type(value) in (int, float) for value in self.labels.values()),
            "labels must be numbers",
        )
        require(len({file.path for file in self.files}) == len(self.files), "a file is listed twice")
        return self


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _checksum(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
