"""The JSON documents of `--json`: one for each command, with fields that stay.

FIELDS describes them for docs/cli.md. A later version may add fields; it does not rename or remove one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from voxbeam.commands.audit_document import AUDIT_FIELDS
from voxbeam.commands.release_document import DIFF_FIELDS, RELEASE_FIELDS

if TYPE_CHECKING:
    from voxbeam.evaluation.zero_shot import Evaluation
    from voxbeam.pipeline.build import BuildResult
    from voxbeam.pipeline.events import VerifyProgress
    from voxbeam.pipeline.gc import Orphan
    from voxbeam.pipeline.gpu_rates import GpuRates
    from voxbeam.pipeline.plan import Plan
    from voxbeam.pipeline.status import BuildStatus, CorpusStatus
    from voxbeam.pipeline.verify import Problem
    from voxbeam.schemas.manifest import RecordingRow
    from voxbeam.schemas.release import Release

_AGAIN = ("recheck", "rederive")
FIELDS: dict[str, dict[str, str]] = {
    "plan": {
        "recordings": "recordings in the input",
        "probed": "recordings whose headers were read: drawn at random, or all",
        "unusable": "of the recordings probed, those that would go to quarantine at once",
        "unusable_kinds": "list of objects: reason, count and example of these",
        "audio_ms": "duration of all recordings",
        "audio_error": "half of the 95 % interval of audio_ms, as a fraction of it; 0 if all recordings were probed",
        "measured_ms": "duration of the sample that was measured",
        "worker_seconds": "object: stage → seconds of one worker for the whole input",
        "accepted_ms": "speech that would be accepted",
        "samples": "samples of the release",
        "unit_bytes": "size of all units; shards take about the same again",
        "units": "units to process",
        "shards": "shards of the release",
        "objects": "objects in the corpus afterwards",
        "bucket_writes": "write requests, if the corpus is in a bucket",
        "bucket_reads": "read requests, if the corpus is in a bucket",
        "gpu": "with --device: object: card (null if none has been measured), worker_seconds (stage → seconds, or null if "
        "not measured); else null",
        "redo": "with --output: object: release, changes, stages (that run again), stage_ms and worker_seconds (stage → what it "
        "runs on, and takes), new_recordings, units (written), reused_units; else null",
        "left_out": "list of objects: kind, count and example of files of the input that are no recordings",
        "notes": "list of messages about the input, e.g. how many recordings name no speaker",
    },
    "build": {
        "output": "folder or bucket of the corpus",
        "release": "number of the latest release; of the one that will be committed, if `submitted`",
        "committed": "whether this build added the release; false also when there was nothing to add",
        "submitted": "whether the runner accepted the job and continues without this command",
        "job_id": "id of a Dataflow job, or null",
        "wall_s": "seconds that the build took",
        "counts": "object: counts of the release, as in releases/NNNNNN.json; null if `submitted`",
        "units": "units processed",
        "reused_units": "units that an earlier build had finished",
        "left_out": "list of objects: kind, count and example of files of the input that are no recordings",
        "basis": "object: how many recordings may be trained on by a grant, by an open licence, by what the listing only states "
        "(stated), by a grant that does not hold (refused), or by nothing (missing)",
        "changes": "list of what changed since the previous release: settings, models, listing",
        "quarantine": "list of objects: recording, stage, reason, error, remedy",
    },
    "release": RELEASE_FIELDS,
    "remove": RELEASE_FIELDS,
    "diff": DIFF_FIELDS,
    "status": {
        "output": "folder or bucket of the corpus",
        "releases": "list of release numbers",
        "latest": "object: number, parent and counts of the latest release; null if there is none",
        "units": "finished units",
        "unit_bytes": "size of all finished units",
        "builds": "list of objects: run_id, release, running, elapsed_s, silent_s, recordings, probed, done_ms, remaining_ms, "
        "accepted_ms, rejected_ms, reused_units, quarantined",
        "last_build": "object: the record of the build of the latest release, as in builds/; null if there is none",
    },
    "verify": {
        "output": "folder or bucket of the corpus",
        "release": "number of the release",
        "files": "files of the release",
        "samples": "samples of the release",
        "problems": "list of objects: where, what; empty if the release is sound",
        "recheck": "object: total and unreachable recordings that --recheck chose; null without it",
        "rederive": "object: total and unreachable units that --rederive chose; null without it",
        "deleted": "list of paths that --repair deleted",
        "restored": "list of releases that --repair put back from their copies",
    },
    "show": {
        "segments": "list of objects, the segments that were shown, with the columns of samples and rejected, and accepted; "
        "null where a query was answered that returns no keys",
        "rows": "list of objects, the answer of a query that returns no keys; else null",
        "wav": "file that --wav wrote, or null",
    },
    "report": {
        "out": "the page, or null if none was written",
        "tried": "list of objects, one for each limit of --try and one for all together: limits, kept_ms, kept_samples, lost_ms, "
        "lost_samples, gained_ms, gained_segments, identities_lost",
    },
    "gc": {
        "output": "folder or bucket of the corpus",
        "dry_run": "whether the objects are still there",
        "bytes": "size of all objects",
        "objects": "list of objects: path, bytes",
    },
    "audit": AUDIT_FIELDS,
    "evaluate corpus": {
        "output": "folder or bucket of the corpus",
        "release": "number of the release",
        "recordings": "recordings that were measured",
        "without_truth": "list of recordings that the truth does not name",
        "not_built": "list of names of the truth that are in quarantine or that no recording has",
        "with_tracks": "list of recordings with a track for each channel, which are left out",
        "unread": "list of samples whose source cannot be read for the codec's loss",
        "measures": "list of objects: measure, value, low, high (95 % interval), denominator, recordings, about; values are "
        "fractions, null where the truth lacks what they need",
        "kinds": "list of objects, of planted defects: kind, planted, kept_out, named, rejections, on_defects, right, recall, "
        "recall_by_name, precision, precision_by_name",
    },
    "evaluate duplicates": {
        "output": "folder or bucket of the corpus",
        "release": "number of the release",
        "samples": "samples of the release",
        "copies": "keys of samples to leave out, so that no sound is there twice: what --overlay writes",
        "pairs": "list of objects: one, other (keys of samples), shared (fraction of words), sound (correlation), same_sound",
    },
    "evaluate leak": {
        "output": "folder or bucket of the corpus",
        "release": "number of the release",
        "utterances": "utterances of the test sets",
        "speakers": "speakers of the test sets",
        "texts": "list of objects: one (test utterance), other (key of a sample), shared, sound, same_sound",
        "voices": "list of objects: speaker (of a test set), voice (of the corpus), similarity",
    },
    "evaluate model": {
        "out": "folder of the report",
        "utterances": "utterances spoken",
        "rows": "list of objects, the rows of table.json: the recording, the codec and the model",
    },
}


def plan_document(plan: Plan, rates: GpuRates | None = None, *, gpu: bool = False) -> dict[str, Any]:
    from voxbeam.pipeline.gpu_rates import seconds_on_gpu

    foot = plan.footprint
    return {
        "recordings": plan.recordings,
        "probed": plan.probed,
        "unusable": plan.unusable,
        "unusable_kinds": [asdict(kind) for kind in plan.unusable_kinds],
        "audio_ms": plan.audio_ms,
        "audio_error": plan.audio_error,
        "measured_ms": plan.measured_ms,
        "worker_seconds": plan.seconds,
        "accepted_ms": plan.accepted_ms,
        "samples": plan.samples,
        "unit_bytes": plan.unit_bytes,
        "units": foot.units,
        "shards": foot.shards,
        "objects": foot.objects,
        "bucket_writes": foot.writes,
        "bucket_reads": foot.reads,
        "gpu": {"card": rates.card if rates else None, "worker_seconds": seconds_on_gpu(plan.seconds, plan.audio_ms, rates)}
        if gpu
        else None,
        "redo": _redo(plan) if plan.redo else None,
        "left_out": [asdict(kind) for kind in plan.left_out],
        "notes": list(plan.notes),
    }


def _redo(plan: Plan) -> dict[str, Any]:
    redo = plan.redo
    assert redo is not None
    changes = redo.changes
    return {
        "release": redo.release,
        "changes": [*changes.invalidates_units, *changes.repacks, *changes.listing],
        "stages": list(changes.stages),
        "stage_ms": redo.stage_ms,
        "worker_seconds": redo.seconds(plan.seconds, plan.audio_ms),
        "new_recordings": redo.new_recordings,
        "units": redo.units,
        "reused_units": redo.reused_units,
    }


def build_document(output: str, result: BuildResult, quarantine: Sequence[RecordingRow]) -> dict[str, Any]:
    changes = result.changes
    return {
        "output": output,
        "release": result.number,
        "committed": result.committed,
        "submitted": result.release is None,
        "job_id": result.job_id,
        "wall_s": round(result.wall_s, 3),
        "counts": _counts(result.release) if result.release else None,
        "units": result.progress.units,
        "reused_units": result.progress.reused_units,
        "left_out": [asdict(kind) for kind in result.left_out],
        "basis": dict(result.basis.counts) if result.basis else {},
        "changes": [*changes.invalidates_units, *changes.repacks, *changes.listing],
        "quarantine": [
            {name: getattr(row, name) for name in ("recording", "stage", "reason", "error", "remedy")} for row in quarantine
        ],
    }


def status_document(status: CorpusStatus) -> dict[str, Any]:
    latest = status.latest
    return {
        "output": status.uri,
        "releases": status.releases,
        "latest": {"number": latest.number, "parent": latest.parent, "counts": _counts(latest)} if latest else None,
        "units": status.units,
        "unit_bytes": status.unit_bytes,
        "builds": [_build_status(build) for build in status.builds],
        "last_build": asdict(status.last_build) if status.last_build else None,
    }


def _build_status(build: BuildStatus) -> dict[str, Any]:
    from voxbeam.pipeline.progress import DONE

    beat, workers = build.heartbeat, build.workers
    return {
        "run_id": build.run_id,
        "release": beat.info.release,
        "running": beat.running,
        "elapsed_s": round(beat.elapsed_s, 3),
        "silent_s": round(beat.silent_s, 3),
        "recordings": beat.info.recordings,
        "probed": workers.probed,
        "done_ms": round(workers.audio_ms.get(DONE, 0)),
        "remaining_ms": round(workers.remaining_ms),
        "accepted_ms": workers.accepted_ms,
        "rejected_ms": workers.rejected_ms,
        "reused_units": workers.reused_units,
        "quarantined": workers.quarantined,
    }


def verify_document(
    output: str,
    release: Release,
    problems: Sequence[Problem],
    events: Mapping[str, VerifyProgress],
    deleted: Sequence[str],
    restored: Sequence[str],
) -> dict[str, Any]:
    return {
        "output": output,
        "release": release.number,
        "files": len(release.files),
        "samples": Counter(release.counts)["samples"],
        "problems": [asdict(problem) for problem in problems],
        **{phase: {"total": e.total, "unreachable": e.unreachable} if (e := events.get(phase)) else None for phase in _AGAIN},
        "deleted": list(deleted),
        "restored": list(restored),
    }


def gc_document(output: str, dry_run: bool, orphans: Sequence[Orphan]) -> dict[str, Any]:
    return {
        "output": output,
        "dry_run": dry_run,
        "bytes": sum(orphan.bytes for orphan in orphans),
        "objects": [asdict(orphan) for orphan in orphans],
    }


def evaluate_document(out: str, result: Evaluation) -> dict[str, Any]:
    return {"out": out, "utterances": len(result.cases), "rows": [asdict(row) for row in result.rows]}


def _counts(release: Release) -> dict[str, int]:
    return dict(sorted(release.counts.items()))
