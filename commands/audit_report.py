"""What `voxbeam audit --result` prints."""

from __future__ import annotations

from rich.console import Console

from voxbeam.audit.estimate import CONFIDENCE
from voxbeam.audit.result import AuditResult
from voxbeam.commands.terminal import new_table, print_table


def print_result(result: AuditResult, console: Console) -> None:
    """The label error overall, by kind and by stratum, and who listened."""
    plan = result.plan
    console.print(
        f"Release {plan.release:06d}, seed {plan.seed}: label error {result.overall}, "
        f"{100 * CONFIDENCE:.0f} % interval in parentheses",
        style="bold",
    )
    console.print(
        f"{result.heard} of {len(plan.clips)} clips judged, {result.unsure} cannot be said, "
        f"answers of {len(result.signers)} people, {len(result.disagreements)} clips on which they differ"
    )
    kinds = new_table("kind", "clips", "of all samples")
    for kind, found in result.by_kind.items():
        kinds.add_row(kind.replace("_", " "), str(sum(a.answer == kind for a in result.answers.values())), str(found))
    console.print(kinds)
    strata = new_table("source, score", "samples", "judged", "wrong", "of its samples")
    for each in result.by_stratum:
        error = str(each.estimate) if each.count.heard else "not known"
        strata.add_row(each.stratum.name, f"{each.count.population:,}", str(each.count.heard), str(each.count.errors), error)
    print_table(console, "By stratum", strata)
    for signer, count in result.signers.items():
        console.print(f"signed by {signer[:16]}…: {count} answers", style="dim")
