"""The JSON document of `voxbeam audit --result`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxbeam.audit.estimate import Estimate
    from voxbeam.audit.result import AuditResult
    from voxbeam.schemas.release import Release

AUDIT_FIELDS = {
    "output": "folder or bucket of the corpus",
    "release": "number of the release",
    "seed": "of the sample",
    "clips": "clips of the sample",
    "judged": "of these, judged by a person",
    "unsure": "of these, answered `cannot say`",
    "label_error": "object: rate, low, high; of all samples, with a 95 % interval",
    "by_kind": "object: label_error of each kind of error",
    "by_stratum": "list of objects: stratum, samples, planned, judged, errors, label_error",
    "signers": "object: answers by public key",
    "disagreements": "list of keys on which people differ",
    "wrong_rows": "list of objects: path, what; answers that were changed or taken out",
}


def audit_document(output: str, release: Release, result: AuditResult) -> dict[str, Any]:
    return {
        "output": output,
        "release": release.number,
        "seed": result.plan.seed,
        "clips": len(result.plan.clips),
        "judged": result.heard,
        "unsure": result.unsure,
        "label_error": label_error(result.overall),
        "by_kind": {kind: label_error(found) for kind, found in result.by_kind.items()},
        "by_stratum": [
            {
                "stratum": each.stratum.name,
                "samples": each.count.population,
                "planned": each.stratum.planned,
                "judged": each.count.heard,
                "errors": each.count.errors,
                "label_error": label_error(each.estimate),
            }
            for each in result.by_stratum
        ],
        "signers": result.signers,
        "disagreements": result.disagreements,
        "wrong_rows": [asdict(row) for row in result.wrong],
    }


def label_error(found: Estimate) -> dict[str, float | None]:
    """A rate of which nothing is known is null: JSON has no other number for it."""
    return {"rate": None if found.rate != found.rate else found.rate, "low": found.low, "high": found.high}
