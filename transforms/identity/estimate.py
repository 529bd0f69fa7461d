"""Estimates for a release: how pure and how unique its identities are, with intervals.

Assumptions: each voice is one person (the purity of voices within a recording is another column); similarities of the corpus
are distributed as in the calibration; before two voices are heard, they are one person as often as the partition has such
pairs; voices err independently of each other. How sure the calibration is, is in the intervals, by speakers drawn again. That
another room, day or language may shift all similarities is not: `mean_similarity` shows it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voxbeam.transforms.identity.evidence import Evidence, Scores
from voxbeam.transforms.identity.partition import Partition
from voxbeam.transforms.identity.voices import Voices

ENOUGH, _MOST = 10, 2_000
"""identities of which the mean similarity is taken: fewer say too little, and more say nothing new"""
_Z = 1.96
"""half the width of a 95 % interval, in standard deviations"""
Shares = Callable[[Scores], NDArray[np.float64]]
"""probability of each case, by a calibration"""


def estimate(voices: Voices, found: Partition, evidence: Evidence) -> dict[str, float]:
    """Estimates of a partition, by name, each share with the bounds of its 95 % interval as `<name>_low` and `<name>_high`.

    `purity` is the share of speech whose voice belongs to the person that most of its identity is; `uniqueness` the share of
    identities that no other identity is the same person as. Both are of what has an embedding; `unheard` is the share of
    speech that has none. `mean_similarity` is that of two identities, where there are enough.
    """
    audible_N = voices.audible_N
    speech_N = voices.speech_ms_N.astype(np.float64)
    shared_N = audible_N & ~np.isnan(found.own_N)
    listed_N = (voices.name_N >= 0) & ~found.conflict_N

    sizes_I = np.bincount(found.identity_N[audible_N]).astype(np.float64)
    count = max(2.0, sizes_I.sum())
    odds = max(1.0, float(sizes_I @ (sizes_I - 1))) / (count * (count - 1))

    def belongs(scores: Scores) -> NDArray[np.float64]:
        own = evidence.probability(np.nan_to_num(found.own_N), listed=listed_N, scores=scores, odds=odds)
        return np.where(shared_N, own, 1.0)[audible_N]

    heard_I = ~np.isnan(found.duplicate_I)

    def single(scores: Scores) -> NDArray[np.float64]:
        twice = evidence.probability(np.nan_to_num(found.nearest_similarity_I), scores=scores, odds=odds)
        return (1 - np.where(found.nearest_I >= 0, twice, 0.0))[heard_I]

    weight_N = speech_N[audible_N]
    weight_I = np.ones(int(heard_I.sum()))
    result = {"threshold": evidence.threshold, "unheard": _share(speech_N[~audible_N].sum(), speech_N.sum())}
    # Two identities of one person are each other's nearest: half as many independent cases as identities.
    for name, share, weight, dependence in (("purity", belongs, weight_N, 1.0), ("uniqueness", single, weight_I, 2.0)):
        result |= _with_interval(name, share, weight, dependence, evidence)
    if (mean := mean_similarity(voices, found)) is not None:
        result["mean_similarity"] = mean
    return {name: round(float(value), 6) for name, value in result.items()}


def mean_similarity(voices: Voices, found: Partition) -> float | None:
    """Mean similarity of two identities, by the first voice of each, of at most _MOST; None for fewer than ENOUGH.

    It is near 0 where voices differ as those of the calibration do, whose mean was taken off.
    """
    audible = np.flatnonzero(voices.audible_N)
    _, first = np.unique(found.identity_N[audible], return_index=True)
    chosen = audible[first][:: max(1, -(-len(first) // _MOST))]
    count = len(chosen)
    if count < ENOUGH:
        return None
    rows_ID = voices.embedding_ND[chosen].astype(np.float64)
    total_D = rows_ID.sum(axis=0)
    return float((total_D**2).sum() - (rows_ID**2).sum()) / (count * (count - 1))


def _with_interval(
    name: str, share: Shares, weight: NDArray[np.float64], dependence: float, evidence: Evidence
) -> dict[str, float]:
    total = weight.sum()
    if not total:
        return {}
    weight = weight / total
    cases = share(evidence.calibration.scores)
    value = float(weight @ cases)
    chance = dependence * float(weight**2 @ (cases * (1 - cases)))
    calibration = float(np.mean([(weight @ share(draw) - value) ** 2 for draw in evidence.calibration.draws]))
    half = _Z * (chance + calibration) ** 0.5
    return {name: value, f"{name}_low": max(0.0, value - half), f"{name}_high": min(1.0, value + half)}


def _share(part: float, total: float) -> float:
    return part / total if total else 0.0
