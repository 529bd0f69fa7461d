"""The JSON documents of `voxbeam release`, `remove` and `diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxbeam.commands.label_error import LabelError
    from voxbeam.pipeline.diff import ReleaseDiff
    from voxbeam.pipeline.preview import Outcome, Preview
    from voxbeam.pipeline.repack import ReleaseResult

RELEASE_FIELDS = {
    "output": "folder or bucket of the corpus",
    "release": "number of the latest release; null with --dry-run",
    "committed": "whether it is new; false also when its policy is this one already",
    "wall_s": "seconds that it took",
    "changes": "list of settings and decisions that differ from the previous release's",
    "counts": "object: counts of the release, as in releases/NNNNNN.json; null with --dry-run",
    "preview": "with --dry-run: object: now and then (objects: accepted_ms, rejected_ms, excluded_ms, samples, speakers, "
    "reasons: reason → ms), lost_speakers, lost_ms and gained_ms (reason → ms); else null",
    "label_error": "with --dry-run, where people have listened: object: audited_release, now and then (objects: label_error, "
    "unheard samples, repaired errors, by_stratum); else null",
    "inherited": "list of decisions of the previous release that stay though the policy names overlays without them",
    "unknown": "list of names in the policy that the corpus does not have",
}
DIFF_FIELDS = {
    "output": "folder or bucket of the corpus",
    "before": "number of the first release",
    "after": "number of the second release",
    "settings": "list of settings, decisions, models and libraries that differ",
    "totals": "list of objects: why, change, segments, ms",
    "parquet": "file with one row for each change, or null",
}


def release_document(output: str, result: ReleaseResult, error: LabelError | None) -> dict[str, Any]:
    return {
        "output": output,
        "release": result.release.number if result.release else None,
        "committed": result.committed,
        "wall_s": round(result.wall_s, 3),
        "changes": list(result.changes),
        "counts": dict(sorted(result.release.counts.items())) if result.release else None,
        "preview": _preview(result.preview) if result.preview else None,
        "label_error": error.document() if error else None,
        "inherited": list(result.inherited),
        "unknown": list(result.unknown),
    }


def _preview(preview: Preview) -> dict[str, Any]:
    def outcome(of: Outcome) -> dict[str, Any]:
        plain = {name: getattr(of, name) for name in ("accepted_ms", "rejected_ms", "excluded_ms", "samples")}
        return {**plain, "speakers": len(of.speakers), "reasons": dict(sorted(of.ms.items()))}

    return {
        "now": outcome(preview.now),
        "then": outcome(preview.then),
        "lost_speakers": preview.lost_speakers,
        "lost_ms": dict(sorted(preview.lost_ms.items())),
        "gained_ms": dict(sorted(preview.gained_ms.items())),
    }


def diff_document(output: str, found: ReleaseDiff, parquet: str | None) -> dict[str, Any]:
    names = ("why", "change", "segments", "ms")
    return {
        "output": output,
        "before": found.before.number,
        "after": found.after.number,
        "settings": list(found.settings),
        "totals": [dict(zip(names, row, strict=True)) for row in found.totals()],
        "parquet": parquet,
    }
