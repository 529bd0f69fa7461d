"""Costs: what the builds of a corpus took, from their records in builds/, and the units and recordings that failed."""

from __future__ import annotations

import json
from typing import Any

from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.store import Store

_MAX_RECORDS = 100
_MAX_FAILURES = 200


def build_costs(store: Store, number: int) -> dict[str, Any]:
    """The builds up to a release: worker-seconds and audio of each stage, and the slowest units of all of them.

    A record that cannot be read is counted: `unreadable`.
    """
    records, unreadable = [], 0
    paths = [path for path, _ in store.walk("builds/") if path.endswith(".json")]
    for path in paths[-_MAX_RECORDS:]:
        try:
            record = _read(json.loads(store.get(path)))
        except (ValueError, TypeError, KeyError, AttributeError, FileNotFoundError):
            unreadable += 1
            continue
        if record["release"] <= number:
            records.append(record)
    stages: dict[str, dict[str, Any]] = {}
    for record in records:
        for stage, seconds in record["seconds"].items():
            entry = stages.setdefault(stage, {"stage": stage, "seconds": 0.0, "audio_ms": 0})
            entry["seconds"] += seconds
            entry["audio_ms"] += record["audio_ms"].get(stage, 0)
    slowest = sorted((unit for record in records for unit in record["slowest"]), key=lambda unit: -unit["seconds"])
    return {
        "records": [{name: record[name] for name in _SHOWN} for record in records],
        "unreadable": unreadable,
        "left_out": max(0, len(paths) - _MAX_RECORDS),
        "stages": list(stages.values()),
        "audio_ms": max((entry["audio_ms"] for entry in stages.values()), default=0),
        "accepted_ms": sum(record["accepted_ms"] for record in records),
        "seconds": sum(entry["seconds"] for entry in stages.values()),
        "slowest": slowest[:20],
    }


def failures(tables: ReleaseTables) -> dict[str, Any]:
    """Recordings in quarantine, and windows that failed, each with stage, reason, error and remedy."""
    counts = tables.rows(
        """
        SELECT status, stage, reason, count(*) AS recordings, coalesce(sum(duration_ms), 0) :: BIGINT AS ms
        FROM recordings WHERE status IN ('quarantined', 'partial') GROUP BY ALL ORDER BY recordings DESC, stage, reason
        """
    )
    rows = tables.rows(
        f"""
        SELECT recording, status, stage, reason, error, remedy FROM recordings WHERE status = 'quarantined'
        UNION ALL
        SELECT recording, status, w.stage, w.reason, w.error, w.remedy
        FROM (SELECT recording, status, unnest(failed_windows) AS w FROM recordings WHERE status = 'partial')
        ORDER BY recording, stage LIMIT {_MAX_FAILURES}
        """
    )
    return {"counts": counts, "rows": rows}


_SHOWN = ("release", "run_id", "started", "wall_s", "recordings", "units", "reused_units", "accepted_ms")


def _read(tree: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a record (pipeline/build_record.py). Raises an error for what is none."""
    workers = tree["workers"]
    return {
        "release": int(tree["release"]),
        "run_id": str(tree["run_id"]),
        "started": str(tree["started"]),
        "wall_s": float(tree["wall_s"]),
        "recordings": int(tree["recordings"]),
        "units": int(workers["units"]),
        "reused_units": int(workers["reused_units"]),
        "accepted_ms": int(workers["accepted_ms"]),
        "seconds": {str(stage): float(seconds) for stage, seconds in workers["seconds"].items()},
        "audio_ms": {str(stage): float(ms) for stage, ms in workers["audio_ms"].items()},
        "slowest": [
            {
                **{name: str(unit[name]) for name in ("recording", "stage")},
                **{name: float(unit[name]) for name in ("start_ms", "end_ms", "seconds", "stage_seconds")},
            }
            for unit in workers["slowest"]
        ],
    }
