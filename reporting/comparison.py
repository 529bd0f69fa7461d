"""Comparison: what changed from the previous release to this one."""

from __future__ import annotations

from typing import Any

from voxbeam.schemas.errors import SchemaError, StorageError
from voxbeam.schemas.leaves import leaves_by_name
from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.releases import read_release

_COUNTS = ("recordings", "quarantined", "samples", "rejected", "identities", "accepted_ms", "rejected_ms", "non_speech_ms")
_PREFIX = "previous_"


def compare_with_previous(tables: ReleaseTables) -> dict[str, Any] | None:
    """Counts, settings, models, samples and reasons of this release and the previous one; None if it is the first.

    A previous release that cannot be read is named with the error, in `unreadable`.
    """
    release = tables.release
    if release.parent is None:
        return None
    try:
        previous = read_release(tables.store, release.parent)
        tables.add(previous, _PREFIX)
        return {
            "number": previous.number,
            "unreadable": None,
            "counts": [
                {"name": name, "before": previous.counts.get(name, 0), "now": release.counts.get(name, 0)} for name in _COUNTS
            ],
            "settings": _changes(leaves_by_name(previous.config), leaves_by_name(release.config))
            + _changes(previous.models, release.models),
            "samples": _samples(tables),
            "reasons": _reasons(tables),
            "scores": _scores(tables),
        }
    except (StorageError, SchemaError, FileNotFoundError) as error:
        message = error.message if isinstance(error, StorageError | SchemaError) else "it is no longer there"
        return {"number": release.parent, "unreadable": message}


def _samples(tables: ReleaseTables) -> dict[str, Any]:
    """Samples that came, that went, and what became of those: rejected now, by the first reason, or cut otherwise."""
    came = tables.row(
        f"SELECT count(*) AS n, coalesce(sum(duration_ms), 0) :: BIGINT AS ms FROM samples ANTI JOIN {_PREFIX}samples USING (key)"
    )
    went = tables.row(
        f"SELECT count(*) AS n, coalesce(sum(duration_ms), 0) :: BIGINT AS ms FROM {_PREFIX}samples ANTI JOIN samples USING (key)"
    )
    why = tables.rows(
        f"""
        SELECT reasons[1] AS reason, count(*) AS n, sum(duration_ms) :: BIGINT AS ms
        FROM rejected SEMI JOIN {_PREFIX}samples USING (key) GROUP BY reason ORDER BY n DESC, reason
        """
    )
    return {"came": came, "went": went, "rejected_now": why}


def _reasons(tables: ReleaseTables) -> list[dict[str, Any]]:
    return tables.rows(
        f"""
        WITH together AS (
            SELECT unnest(reasons) AS reason, duration_ms AS now, 0 AS before FROM rejected
            UNION ALL SELECT unnest(reasons), 0, duration_ms FROM {_PREFIX}rejected
        )
        SELECT reason, sum(before) :: BIGINT AS before_ms, sum(now) :: BIGINT AS now_ms FROM together GROUP BY reason
        ORDER BY now_ms DESC, reason
        """
    )


def _scores(tables: ReleaseTables) -> list[dict[str, Any]]:
    """Means over accepted time."""
    names = ("dnsmos_ovrl", "snr_db", "bandwidth_hz", "avg_logprob", "chars_per_second", "speech_ratio")
    means = ", ".join(f"sum({name} * duration_ms) / sum(duration_ms) FILTER ({name} IS NOT NULL) AS {name}" for name in names)
    before, now = (tables.row(f"SELECT {means} FROM {prefix}samples") for prefix in (_PREFIX, ""))
    return [{"score": name, "before": before[name], "now": now[name]} for name in names]


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": name, "before": str(before.get(name, "—")), "now": str(now.get(name, "—"))}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
