"""Plan: which samples of a release people listen to. It is drawn by hash, so the same release, size and seed give the same plan.

Strata are sources × weakness. The source is the folder below which a recording lies. The weakness of a sample is the worst of its
ranks, score by score, among all samples; the weakest tenth and the next three tenths are strata of their own, and are heard more
often than their share, because most errors are there. Each clip then stands for `weight` samples of the release.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from voxbeam.audit.strata import BANDS, allot, source_names, weakness_bands
from voxbeam.schemas.errors import SchemaError, StorageError
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows, release_path, table_batches
from voxbeam.storage.store import Store

MAX_CLIPS = 400
SCORES = {
    "avg_logprob": -1, "dnsmos_ovrl": -1, "speech_ratio": -1, "second_voice": 1, "voice_distance": 1, "no_speech_prob": 1,
    "second_wer": 1,
}  # fmt: skip
"""columns that tell of errors, and the sign with which a higher value is a worse one"""


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """A part of a release."""

    name: str
    population: int
    """samples of the release"""
    planned: int
    """of these, clips to listen to"""

    @property
    def weight(self) -> float:
        """Samples of the release that a clip of it stands for."""
        return self.population / self.planned if self.planned else 0.0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A sample to listen to."""

    key: str
    stratum: str


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """The clips of an audit, in the order in which they are heard: any beginning of it has clips of all strata."""

    release: int
    release_sha256: str
    seed: int
    strata: tuple[Stratum, ...]
    clips: tuple[Clip, ...]

    @property
    def name(self) -> str:
        """Of the plan's folder: a hash of its content."""
        return self.sha256[:12]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        return (json.dumps({"version": 1, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> AuditPlan:
        """Raises SchemaError for anything else."""
        try:
            tree: dict[str, Any] = json.loads(content)
            if tree.pop("version") != 1:
                raise SchemaError("the plan of an audit is of another version", remedy="read it with the voxbeam that made it")
            strata = tuple(Stratum(**each) for each in tree.pop("strata"))
            return cls(strata=strata, clips=tuple(Clip(**each) for each in tree.pop("clips")), **tree)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise error if isinstance(error, SchemaError) else SchemaError(f"not the plan of an audit: {error}") from error


def make_plan(store: Store, release: Release, *, clips: int = MAX_CLIPS, seed: int = 0) -> AuditPlan:
    """The plan of an audit. Raises StorageError for a release without samples.

    Memory: 40 bytes for each sample of the release.
    """
    cells, names = sample_strata(store, release)
    if not len(cells):
        raise StorageError(f"release {release.name} of {store.root} has no samples to listen to")
    hashes = [
        np.fromiter((_draw(seed, key) for key in batch["key"].to_pylist()), np.uint64, batch.num_rows)
        for batch in table_batches(store, release, SampleRow, ["key"])
    ]
    draws = np.concatenate(hashes)
    sizes = Counter(cells.tolist())
    planned = allot(dict(sorted(sizes.items())), min(clips, MAX_CLIPS))
    chosen: dict[int, int] = {}
    for cell, size in planned.items():
        members = np.flatnonzero(cells == cell)
        chosen |= dict.fromkeys(members[np.argsort(draws[members], kind="stable")[:size]].tolist(), cell)
    keys = _keys(store, release, sorted(chosen))
    strata = {cell: Stratum(name=names[cell], population=sizes[cell], planned=size) for cell, size in planned.items()}
    order: list[tuple[float, int, str]] = []
    for cell, stratum in strata.items():
        drawn = sorted((int(draws[row]), keys[row]) for row, of in chosen.items() if of == cell)
        order += [((place + 0.5) / stratum.planned, cell, key) for place, (_, key) in enumerate(drawn)]
    return AuditPlan(
        release=release.number,
        release_sha256=hashlib.sha256(store.get(release_path(release.number))).hexdigest(),
        seed=seed,
        strata=tuple(strata.values()),
        clips=tuple(Clip(key=key, stratum=strata[cell].name) for _, cell, key in sorted(order)),
    )


def sample_strata(store: Store, release: Release) -> tuple[NDArray[np.int64], list[str]]:
    """The stratum of every sample [N] of a release, in the order of its table, and the names of all strata by number."""
    folders = source_names({row.recording: row.uri for row in read_rows(store, release, RecordingRow)})
    names = sorted(set(folders.values()) | {"other"})
    number = {name: index for index, name in enumerate(names)}
    sources, scores = list[NDArray[np.int8]](), list[list[NDArray[np.float32]]]()
    for batch in table_batches(store, release, SampleRow, ["recording", *SCORES]):
        found = (number[folders.get(recording, "other")] for recording in batch["recording"].to_pylist())
        sources.append(np.fromiter(found, np.int8, batch.num_rows))
        scores.append([sign * _floats(batch[name]) for name, sign in SCORES.items()])
    strata = [f"{name}, {band}" for name in names for band in BANDS]
    if not sources:
        return np.empty(0, np.int64), strata
    bands = weakness_bands([np.concatenate(parts) for parts in zip(*scores, strict=True)])
    return np.concatenate(sources).astype(np.int64) * len(BANDS) + bands, strata


def _draw(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest(), "little")


def _floats(column: pa.Array) -> NDArray[np.float32]:
    """Values as float32; NaN for null."""
    return np.asarray(pc.cast(column, pa.float32()).to_numpy(zero_copy_only=False), np.float32)


def _keys(store: Store, release: Release, wanted: list[int]) -> dict[int, str]:
    """Keys by row of the table of samples."""
    found: dict[int, str] = {}
    rows, start = np.array(wanted), 0
    for batch in table_batches(store, release, SampleRow, ["key"]):
        inside = rows[(rows >= start) & (rows < start + batch.num_rows)]
        found |= dict(zip(inside.tolist(), batch["key"].take(pa.array(inside - start)).to_pylist(), strict=True))
        start += batch.num_rows
    return found
