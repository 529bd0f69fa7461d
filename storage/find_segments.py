"""Find segments: rows of `segments`, accepted and rejected, by key, recording, reason or query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voxbeam.schemas.errors import NotInCorpusError, QueryError

if TYPE_CHECKING:
    from voxbeam.storage.release_tables import ReleaseTables

Found = dict[str, Any]
"""a row of the view `segments` (storage/release_tables.py) by column; what only samples have is null where it was rejected"""


def by_name(tables: ReleaseTables, name: str, limit: int) -> list[Found]:
    """The segment of a key, or the first segments of a recording. Raises NotInCorpusError when there is neither."""
    found = tables.rows("SELECT * FROM segments WHERE key = $name", {"name": name})
    if not found:
        query = f"SELECT * FROM segments WHERE recording = $name ORDER BY start_ms, key LIMIT {limit:d}"
        found = tables.rows(query, {"name": name})
    if not found and not tables.rows("SELECT 1 AS one FROM recordings WHERE recording = $name LIMIT 1", {"name": name}):
        raise NotInCorpusError(
            f"release {tables.release.name} of {tables.store.root} has no segment and no recording {name!r}",
            remedy="list them: voxbeam show CORPUS --sql 'SELECT recording FROM recordings'",
        )
    return found


def by_reason(tables: ReleaseTables, reason: str, limit: int) -> list[Found]:
    """Segments that were rejected for a reason: first those that have no other, in a mixed order that stays the same."""
    found = tables.rows(
        f"SELECT * FROM segments WHERE list_contains(reasons, $reason) ORDER BY len(reasons), hash(key), key LIMIT {limit:d}",
        {"reason": reason},
    )
    if not found:
        given = tables.rows("SELECT DISTINCT unnest(reasons) AS reason FROM rejected ORDER BY reason")
        names = ", ".join(str(row["reason"]) for row in given) or "none: every segment was accepted"
        raise NotInCorpusError(f"nothing was rejected as {reason!r}", remedy=f"the reasons of this release are {names}")
    return found


def by_query(tables: ReleaseTables, query: str, limit: int) -> list[Found]:
    """The segments whose keys a query returns, in its order. Raises QueryError for a query without a column `key`."""
    keys = tables.answer(query)
    if "key" not in keys.column_names:
        raise QueryError("the query returns no column `key`", remedy="SELECT key FROM segments WHERE …")
    return by_keys(tables, keys["key"].to_pylist()[:limit])


def by_keys(tables: ReleaseTables, keys: Sequence[str]) -> list[Found]:
    """The segments of these keys, in this order. A key that is not there is left out."""
    if not keys:
        return []
    rows = tables.rows("SELECT * FROM segments WHERE key IN (SELECT unnest($keys))", {"keys": list(keys)})
    found = {row["key"]: row for row in rows}
    return [found[key] for key in dict.fromkeys(keys) if key in found]
