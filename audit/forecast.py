"""Forecast: what the label error of another policy will be, from the answers to an audit of an earlier release of the same units.

The clips that a policy keeps of a stratum are a random sample of what it keeps of it, so each stratum is estimated from them and
weighs by its new size. Segments that the audited release does not have were heard by nobody: they widen the interval by their
whole share. What people decided of single segments after they listened (corrections, rejections) is no random sample: such clips
count as they were heard, and the errors that are repaired thereby are subtracted from the total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from voxbeam.audit.answers import ERRORS, UNSURE
from voxbeam.audit.estimate import Count, Estimate, estimate, estimate_stratum
from voxbeam.audit.plan import sample_strata
from voxbeam.audit.result import AuditResult, read_results
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_release, release_numbers, table_batches
from voxbeam.storage.sorted_keys import SortedKeys, key_digests
from voxbeam.storage.store import Store
from voxbeam.transforms.policy import EXCLUDED, MARKED

_BY_PEOPLE = {EXCLUDED, MARKED}
_WRONG_TEXT = "wrong_text"

Judged = Mapping[str, tuple[int, Sequence[str]]]
"""key → duration in ms, reasons; of the segments of a recording by one policy"""


@dataclass(kw_only=True)
class PolicyError:
    """What a policy keeps of the strata of an audit, and its label error."""

    samples: Counter[str] = field(default_factory=Counter)
    """stratum → samples that the rules keep"""
    heard: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    unheard: int = 0
    """samples that the audited release does not have"""
    repaired: int = 0
    """errors that were heard and are corrected or taken out"""
    taken_out: int = 0
    """samples that people took out one by one"""

    def by_stratum(self) -> dict[str, tuple[Count, Estimate]]:
        counts = {name: Count(population=n, heard=self.heard[name], errors=self.errors[name]) for name, n in self.samples.items()}
        return {name: (count, estimate_stratum(count)) for name, count in sorted(counts.items())}

    def overall(self) -> Estimate:
        """Of all samples of the policy. Without any clip that was heard: 0 to 1."""
        counts = [count for count, _ in self.by_stratum().values()]
        found = estimate([*counts, Count(population=self.unheard, heard=0, errors=0)])
        total = sum(self.samples.values()) + self.unheard
        left = total - self.taken_out
        if not self.repaired or left <= 0:
            return found
        low, rate, high = (
            min(1.0, max(0.0, (part * total - self.repaired) / left)) for part in (found.low, found.rate, found.high)
        )
        return Estimate(rate=rate, low=low, high=high)


class ErrorForecast:
    """Counts the segments that two policies keep by the strata of an audit.

    Args:
        store: the corpus.
        release: the one that was audited.
        result: what people said of its clips.

    Memory: 9 bytes for each sample of the release. Raises StorageError when its strata are not those of the audit's plan.
    """

    def __init__(self, store: Store, release: Release, result: AuditResult) -> None:
        self.release, self.result = release, result
        self.now, self.then = PolicyError(), PolicyError()
        cells, self._names = sample_strata(store, release)
        found = Counter(self._names[cell] for cell in cells.tolist())
        if found != {stratum.name: stratum.population for stratum in result.plan.strata if stratum.population}:
            raise StorageError(
                f"the audit of release {release.name} divides its samples in another way than this voxbeam",
                remedy="listen to a sample of the latest release: `voxbeam audit`",
            )
        batches = table_batches(store, release, SampleRow, ["key"])
        self._keys, order = SortedKeys.of([key_digests(batch["key"].to_pylist()) for batch in batches])
        self._cells = cells[order].astype(np.int8)

    def add(self, now: Judged, then: Judged, policies: tuple[Policy, Policy]) -> None:
        """Counts the segments of a recording by the present policy and by another one."""
        for outcome, judged, policy in zip((self.now, self.then), (now, then), policies, strict=True):
            for key, (_, reasons) in judged.items():
                if not reasons or _BY_PEOPLE.issuperset(reasons):
                    self._count(outcome, key, taken_out=bool(reasons), policy=policy)

    def _count(self, outcome: PolicyError, key: str, *, taken_out: bool, policy: Policy) -> None:
        if taken_out and key not in policy.corrections.rejected and key not in policy.exclude.segments:
            return  # its speaker or identity is left out
        stratum = self._stratum(key)
        if stratum is None:
            outcome.unheard += not taken_out
            return
        outcome.samples[stratum] += 1
        outcome.taken_out += taken_out
        answer = self.result.answers.get(key)
        if answer is None or answer.answer == UNSURE:
            return
        wrong = answer.answer in ERRORS
        outcome.heard[stratum] += 1
        outcome.errors[stratum] += wrong
        outcome.repaired += wrong and (taken_out or (answer.answer == _WRONG_TEXT and key in policy.corrections.texts))

    def _stratum(self, key: str) -> str | None:
        place = self._keys.find(key)
        return None if place is None else self._names[self._cells[place]]


def open_forecast(store: Store, latest: Release) -> ErrorForecast | None:
    """A forecast from the newest audit of a release of the same units; None where nobody has listened to one.

    Raises StorageError for an audit whose answers were changed.
    """
    for number in reversed(release_numbers(store)):
        if number > latest.number or not any(True for _ in store.walk(f"audits/{number:06d}/")):
            continue
        release = read_release(store, number)
        results = [result for result in read_results(store, release) if result.heard]
        if not results or release.fingerprint != latest.fingerprint:
            continue
        if results[0].wrong:
            raise StorageError(
                f"{len(results[0].wrong)} answers to the audit of release {release.name} are not as they were signed",
                remedy=f"see `voxbeam audit {store.root} --release {number} --result`",
            )
        return ErrorForecast(store, release, results[0])
    return None
