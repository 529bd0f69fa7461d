"""Result: what an audit says of a release, and what the next release should correct."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from voxbeam.audit.answers import ERRORS, UNSURE, Answer, Wrong, latest, read_answers, read_plans
from voxbeam.audit.estimate import CONFIDENCE, Count, Estimate, estimate, estimate_stratum
from voxbeam.audit.plan import AuditPlan, Stratum
from voxbeam.schemas.release import Release
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class StratumResult:
    """What was heard of a stratum."""

    stratum: Stratum
    count: Count
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """The label error of a release by one plan."""

    plan: AuditPlan
    answers: dict[str, Answer]
    """what counts of each clip, by key: the last answer, of whomever"""
    overall: Estimate
    by_kind: dict[str, Estimate]
    by_stratum: list[StratumResult]
    unsure: int
    """clips of which nobody could say whether they are right; they do not count"""
    disagreements: list[str]
    """keys of which two people say different things"""
    signers: dict[str, int]
    """answers by public key"""
    wrong: list[Wrong]
    """rows that do not count, or do not follow each other"""

    @property
    def heard(self) -> int:
        return sum(each.count.heard for each in self.by_stratum)

    def sentence(self) -> str:
        """For a card."""
        kinds = ", ".join(f"{kind.replace('_', ' ')} {found}" for kind, found in self.by_kind.items())
        return (
            f"Label error: {self.overall}, with the {100 * CONFIDENCE:.0f} % interval in parentheses, by {self.heard} of "
            f"{len(self.plan.clips)} clips of a stratified sample that people heard (seed {self.plan.seed}). Of that: {kinds}."
        )


def read_results(store: Store, release: Release) -> list[AuditResult]:
    """A result for each plan of a release to which there are answers; the one with the most clips heard first."""
    results = []
    for plan in read_plans(store, release.number):
        answers, wrong = read_answers(store, plan)
        if answers or wrong:
            results.append(summarize(plan, answers, wrong))
    return sorted(results, key=lambda result: (-result.heard, result.plan.name))


def label_error_sentence(store: Store, release: Release) -> str | None:
    """What a card says of the label error; None where nobody has listened, or where rows were changed."""
    results = read_results(store, release)
    return results[0].sentence() if results and results[0].heard and not results[0].wrong else None


def summarize(plan: AuditPlan, answers: Iterable[Answer], wrong: Iterable[Wrong] = ()) -> AuditResult:
    """Counts the answers to a plan. Strata and weights are those of the plan, not of the rows."""
    said = latest(answers)
    last: dict[str, Answer] = {}
    different = set[str]()
    for answer in sorted(said.values(), key=lambda answer: answer.time):
        if answer.key in last and last[answer.key].answer != answer.answer:
            different.add(answer.key)
        last[answer.key] = answer
    of_clip = {clip.key: clip.stratum for clip in plan.clips}
    heard, errors = Counter[str](), Counter[tuple[str, str]]()
    for key, answer in last.items():
        if answer.answer != UNSURE:
            heard[of_clip[key]] += 1
            errors[of_clip[key], str(answer.answer)] += 1

    def counts(kinds: tuple[str, ...]) -> list[Count]:
        return [
            Count(population=s.population, heard=heard[s.name], errors=sum(errors[s.name, kind] for kind in kinds))
            for s in plan.strata
        ]

    return AuditResult(
        plan=plan,
        answers=last,
        overall=estimate(counts(ERRORS)),
        by_kind={kind: estimate(counts((kind,))) for kind in ERRORS},
        by_stratum=[
            StratumResult(stratum=stratum, count=count, estimate=estimate_stratum(count))
            for stratum, count in zip(plan.strata, counts(ERRORS), strict=True)
        ],
        unsure=sum(answer.answer == UNSURE for answer in last.values()),
        disagreements=sorted(different),
        signers=dict(sorted(Counter(signer for signer, _ in said).items())),
        wrong=list(wrong),
    )


def corrections(result: AuditResult) -> bytes:
    """What the audit found, as an overlay for the next release: JSON lines, in order of key.

    A text that the listener wrote down is the text from then on. Any other error leaves the segment out, with the reason.
    """
    lines = []
    for key, answer in sorted(result.answers.items()):
        if answer.answer not in ERRORS:
            continue
        said = {"text": answer.correction} if answer.correction else {"reason": f"audit: {answer.answer.replace('_', ' ')}"}
        lines.append(json.dumps({"key": key, **said, "by": answer.who, "at": answer.time}, ensure_ascii=False) + "\n")
    return "".join(lines).encode()
