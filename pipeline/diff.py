"""Diff: what changed between two releases of a corpus, segment by segment, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxbeam.pipeline.release_diff import LISTED_COLUMNS, changed_models, settings_that_differ
from voxbeam.schemas.columns import Record, arrow_schema
from voxbeam.schemas.manifest import EXCLUDED, RELEASED, RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import load_release, read_rows, table_batches
from voxbeam.storage.store import Store

SCHEMA = pa.schema(
    [("key", pa.string()), ("recording", pa.string()), ("duration_ms", pa.int64())]
    + [(name, pa.string()) for name in ("change", "why", "before", "after")]
)
"""columns of the table of changes"""
_COMPARED = ("state", "text", "speaker", "identity", "split", "codes")
_BATCH = 10_000


@dataclass(frozen=True)
class ReleaseDiff:
    """The differences between two releases."""

    before: Release
    after: Release
    settings: tuple[str, ...]
    """settings, decisions, models and libraries that differ, as `name: old → new`"""
    table: pa.Table
    """one row for each change of a segment (SCHEMA)"""

    def totals(self) -> list[tuple[str, str, int, int]]:
        """(why, change, segments, duration in ms), the longest first."""
        grouped = self.table.group_by(["why", "change"]).aggregate([("key", "count"), ("duration_ms", "sum")])
        rows = zip(*(grouped[name].to_pylist() for name in ("why", "change", "key_count", "duration_ms_sum")), strict=True)
        return sorted(rows, key=lambda row: (-row[3], row))

    def write_parquet(self, path: str | Path) -> None:
        """Writes the table of changes."""
        pq.write_table(self.table, path, compression="zstd")


def diff(output_uri: str, before: int, after: int) -> ReleaseDiff:
    """Compares two releases by number. Raises StorageError when there is no such release.

    `change` is what became of a segment: `added`, `removed`, `accepted`, `rejected`, `reasons`, or the column that differs:
    `text`, `speaker`, `identity`, `split`, `codes`. `why` is `input` (the recording, or its listing, is new, gone or another),
    `exclude`, `corrections`, `threshold` (the rules and limits of the policy), `identities` (found anew from all voices), or
    `model` (settings, models or code of the stages: see `settings`).
    """
    store = Store(output_uri)
    releases = load_release(store, before), load_release(store, after)
    recordings = tuple({row.recording: row for row in read_rows(store, release, RecordingRow)} for release in releases)
    sides = [_side(store, release, suffix) for release, suffix in zip(releases, ("_a", "_b"), strict=True)]
    joined = sides[0].join(sides[1], keys="key", join_type="full outer")
    rows = sorted(_changes(joined, *recordings), key=lambda row: (row["recording"], row["key"], row["change"]))
    settings = [*settings_that_differ(*releases), *changed_models(releases[0].models, releases[1].models)]
    if releases[0].code_version != releases[1].code_version:
        settings.append(f"code of the stages: version {releases[0].code_version} → {releases[1].code_version}")
    return ReleaseDiff(*releases, tuple(settings), pa.Table.from_pylist(rows, schema=SCHEMA))


def _side(store: Store, release: Release, suffix: str) -> pa.Table:
    """The segments of a release, accepted and rejected: plain columns, of which all but the key get a suffix."""
    common = ["key", "recording", "unit", "duration_ms", "text", "speaker"]
    accepted = _read(store, release, SampleRow, [*common, "identity", "split", "codes_crc32"])
    rejected = _read(store, release, RejectedRow, [*common, "reasons"])
    codes = accepted["codes_crc32"].cast(pa.string())
    accepted = accepted.drop_columns("codes_crc32").append_column("codes", codes)
    accepted = accepted.append_column("state", pa.array([""] * len(accepted), pa.string()))
    reasons = pc.binary_join(rejected["reasons"], " ").combine_chunks()
    rejected = rejected.drop_columns("reasons").append_column("state", reasons)
    table = pa.concat_tables([accepted, rejected], promote_options="default")
    return table.rename_columns([name if name == "key" else name + suffix for name in table.column_names])


def _read(store: Store, release: Release, record: type[Record], columns: list[str]) -> pa.Table:
    batches = list(table_batches(store, release, record, columns))
    if batches:
        return pa.Table.from_batches(batches).select(columns)
    schema = arrow_schema(record)
    return pa.schema([schema.field(name) for name in columns]).empty_table()


def _changes(joined: pa.Table, before: dict[str, RecordingRow], after: dict[str, RecordingRow]) -> Iterator[dict[str, Any]]:
    """Rows of SCHEMA, from the pairs of segments that differ."""
    differs = pa.array([False] * len(joined))
    for name in _COMPARED:
        a, b = joined[f"{name}_a"], joined[f"{name}_b"]
        both_null = pc.and_(pc.is_null(a), pc.is_null(b))
        differs = pc.or_(differs, pc.invert(pc.or_(both_null, pc.fill_null(pc.equal(a, b), False))))
    for batch in joined.filter(differs).to_batches(_BATCH):
        for pair in batch.to_pylist():
            yield from _changes_of(pair, before, after)


def _changes_of(
    pair: dict[str, Any], before: dict[str, RecordingRow], after: dict[str, RecordingRow]
) -> Iterator[dict[str, Any]]:
    a, b = ({name: pair[f"{name}_{side}"] for name in (*_COMPARED, "unit")} for side in "ab")
    recording = pair["recording_a"] or pair["recording_b"]
    row = {"key": pair["key"], "recording": recording, "duration_ms": pair["duration_ms_a"] or pair["duration_ms_b"]}
    was, now = before.get(recording), after.get(recording)
    if a["state"] is None or b["state"] is None:
        change = "added" if a["state"] is None else "removed"
        told = {"before": _told(a["state"]), "after": _told(b["state"])}
        yield {**row, **told, "change": change, "why": _why_gone(was, now)}
        return
    for name in _COMPARED:
        if a[name] == b[name] or (name in ("identity", "split", "codes") and None in (a[name], b[name])):
            continue  # a rejected segment has no identity, split or codes
        change, told = name, {"before": a[name], "after": b[name]}
        if name == "state":
            change = "rejected" if not a["state"] else "accepted" if not b["state"] else "reasons"
            told = {"before": _told(a["state"]), "after": _told(b["state"])}
        yield {**row, **told, "change": change, "why": _why(name, a, b, was, now)}


def _why_gone(was: RecordingRow | None, now: RecordingRow | None) -> str:
    """Why a segment is in one release only."""
    if EXCLUDED in {row.status for row in (was, now) if row}:
        return "exclude"
    if was is None or now is None or was.status not in RELEASED or now.status not in RELEASED:
        return "input"
    return "input" if _listed_differently(was, now) else "model"


def _why(name: str, a: dict[str, Any], b: dict[str, Any], was: RecordingRow | None, now: RecordingRow | None) -> str:
    """Why a segment that is in both releases differs in a column."""
    if was and now and _listed_differently(was, now) and name in ("speaker", "text", "state"):
        return "input"
    if name in ("identity", "split"):
        return "identities"
    if a["unit"] != b["unit"]:
        return "model"
    states = f"{a['state']} {b['state']}".split()
    if "excluded" in states:
        return "exclude"
    return "corrections" if name == "text" or "marked_wrong" in states or a["text"] != b["text"] else "threshold"


def _listed_differently(was: RecordingRow, now: RecordingRow) -> bool:
    return was.sha256 != now.sha256 or any(getattr(was, name) != getattr(now, name) for name in LISTED_COLUMNS)


def _told(state: str | None) -> str | None:
    """A state for people: the reasons, or `accepted`."""
    return "accepted" if state == "" else state
