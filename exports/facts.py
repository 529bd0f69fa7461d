"""Facts: what a card says of a release, gathered in one pass over its tables, in memory that grows with persons only.

Quantiles are of values rounded to four digits, which are counted: exact to what a card prints, and the same in any order.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxbeam.schemas.formats import SPLITS
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import table_batches
from voxbeam.storage.store import Store

UNKNOWN = "unknown"
GROUPS = ("language", "license", "consent_basis")
"""columns whose values a card lists, each with its time"""
SCORES = ("duration_ms", "dnsmos_ovrl", "snr_db", "bandwidth_hz", "avg_logprob", "voice_distance", "second_voice")
"""columns whose quantiles a card lists"""
_QUANTILES = (0.05, 0.5, 0.95)
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """Size of a split."""

    samples: int
    ms: int
    identities: int


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """What a card says of a release."""

    name: str
    """of the corpus"""
    release: Release
    splits: dict[str, SplitFacts]
    ms_by: dict[str, dict[str, int]]
    """for each of GROUPS, time in ms by value; UNKNOWN for null"""
    quantiles: dict[str, tuple[float, float, float]]
    """for each of SCORES that has values: 5 %, 50 % and 95 %"""
    rejected: dict[str, int] = field(default_factory=dict)
    """segments by reason code; a segment counts once for each of its reasons"""
    recordings: dict[str, int] = field(default_factory=dict)
    """number by status"""
    keeps_audio: bool = False
    """whether every sample has its FLAC in its shard"""
    label_error: str | None = None
    """what audits say of the labels, one sentence; None without an audit"""

    @property
    def samples(self) -> int:
        return sum(split.samples for split in self.splits.values())

    @property
    def ms(self) -> int:
        return sum(split.ms for split in self.splits.values())

    @property
    def languages(self) -> list[str]:
        """ISO 639-1 codes, the one with the most time first."""
        return [name for name in self.ms_by["language"] if name != UNKNOWN]


def gather_facts(store: Store, release: Release, label_error: str | None = None) -> ReleaseFacts:
    """The facts of a release. Reads its tables of samples, rejected segments and recordings, no shard."""
    sizes: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    identities: dict[str, set[str]] = {split: set() for split in SPLITS}
    ms_by: dict[str, Counter[str]] = {name: Counter() for name in GROUPS}
    values: dict[str, Counter[float]] = {name: Counter() for name in SCORES}
    without_audio = 0
    columns = ["split", "identity", "flac_bytes", *GROUPS, *SCORES]
    for batch in table_batches(store, release, SampleRow, columns):
        for split, ms, count in _totals(batch, "split"):
            sizes[split].update(ms=ms, samples=count)
        for split in SPLITS:
            identities[split].update(batch.filter(pc.equal(batch["split"], split))["identity"].to_pylist())
        for name in GROUPS:
            ms_by[name].update({value or UNKNOWN: ms for value, ms, _ in _totals(batch, name)})
        for name in SCORES:
            values[name].update(_counted(batch[name]))
        without_audio += batch["flac_bytes"].null_count
    rejected, recordings = Counter[str](), Counter[str]()
    for batch in table_batches(store, release, RejectedRow, ["reasons"]):
        counted = pc.value_counts(pc.list_flatten(batch["reasons"]))
        rejected.update(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))
    for batch in table_batches(store, release, RecordingRow, ["status"]):
        recordings.update(batch["status"].to_pylist())
    found = {name: counts for name, counts in values.items() if counts}
    return ReleaseFacts(
        name=store.root.rstrip("/").rsplit("/", 1)[-1],
        release=release,
        splits={
            split: SplitFacts(samples=size["samples"], ms=size["ms"], identities=len(identities[split]))
            for split, size in sizes.items()
            if size["samples"]
        },
        ms_by={name: dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))) for name, counts in ms_by.items()},
        quantiles={name: _quantiles(counts) for name, counts in found.items()},
        rejected=dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        recordings=dict(sorted(recordings.items())),
        keeps_audio=without_audio == 0 and bool(found),
        label_error=label_error,
    )


def _totals(batch: pa.RecordBatch, column: str) -> list[tuple[str, int, int]]:
    """For each value of a column: the value, its time in ms and its number of rows."""
    grouped = pa.table({"value": batch[column], "ms": batch["duration_ms"]}).group_by("value")
    rows = grouped.aggregate([("ms", "sum"), ("ms", "count")]).to_pylist()
    return [(row["value"], row["ms_sum"], row["ms_count"]) for row in rows]


def _counted(column: pa.Array) -> dict[float, int]:
    """How often each value occurs, rounded to _DIGITS significant digits. Neither null nor NaN counts."""
    values = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
    values = values[np.isfinite(values)]
    size = np.abs(values)
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0))))
    rounded, times = np.unique(np.rint(values * scale) / scale, return_counts=True)
    return dict(zip(rounded.tolist(), times.tolist(), strict=True))


def _quantiles(counts: Counter[float]) -> tuple[float, float, float]:
    """Values below or at which these fractions are."""
    values = sorted(counts)
    ranks = np.cumsum([counts[value] for value in values])
    low, middle, high = (values[int(np.searchsorted(ranks, fraction * ranks[-1]))] for fraction in _QUANTILES)
    return low, middle, high
