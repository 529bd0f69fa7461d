"""Plan sample: the recordings that a plan probes. Drawn at random until the estimate of their total length is good enough."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt

from voxbeam.pipeline.steps.probe import Probed, probe
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import Failure, ListingError
from voxbeam.schemas.recording import Recording
from voxbeam.transforms.decode import PREFETCHED_UNITS

_AT_ONCE = 100
_MIN_PROBED, _MAX_PROBED = 300, 2_000
_GOOD_ENOUGH = 0.03
"""half of the 95 % interval of the mean length, as a fraction of it"""


@dataclass(frozen=True, kw_only=True)
class UnusableKind:
    """Recordings that cannot be used for one reason."""

    reason: str
    count: int
    example: str
    """one of them, with what is wrong with it"""


@dataclass(frozen=True, kw_only=True)
class ProbeSample:
    """What probing some of the recordings found."""

    recordings: int
    """in the input"""
    probed: list[Probed]
    """in the order of the input"""

    @property
    def usable(self) -> list[Probed]:
        return [probed for probed in self.probed if probed.source]

    @property
    def fraction(self) -> float:
        """of the recordings, how many were probed"""
        return len(self.probed) / self.recordings

    @property
    def duration_error(self) -> float:
        """Half of the 95 % interval of the total length, as a fraction of it; 0 if all were probed."""
        count = len(self.probed)
        lengths = [p.source.duration_ms if p.source else 0 for p in self.probed]
        mean = sum(lengths) / count
        if count == self.recordings or not mean:
            return 0.0
        spread = sqrt(sum((length - mean) ** 2 for length in lengths) / max(1, count - 1))
        return 1.96 * spread / mean / sqrt(count) * sqrt(1 - self.fraction)

    def unusable(self) -> tuple[UnusableKind, ...]:
        """Why recordings cannot be used, most frequent first."""
        failures: dict[str, list[tuple[str, Failure]]] = {}
        for probed in self.probed:
            if probed.failure is not None:
                failures.setdefault(probed.failure.reason, []).append((probed.recording.uri, probed.failure))
        kinds = (
            UnusableKind(reason=reason, count=len(found), example=f"{found[0][0]}: {found[0][1].error} ({found[0][1].remedy})")
            for reason, found in failures.items()
        )
        return tuple(sorted(kinds, key=lambda kind: (-kind.count, kind.reason)))


def probe_sample(recordings: Sequence[Recording], config: DecodeConfig, report: Callable[[int, int], None]) -> ProbeSample:
    """Probes recordings drawn at random, without hashing or decoding them; all of them if there are few.

    `report(probed, at_most)` is called as it goes. Raises ListingError if none of those probed can be used, and StorageError for
    what every recording would meet.
    """
    order = list(range(len(recordings)))
    if len(order) > _MIN_PROBED:
        order = random.Random(0).sample(order, min(len(order), _MAX_PROBED))
    probed: dict[int, Probed] = {}
    sample = ProbeSample(recordings=len(recordings), probed=[])
    with ThreadPoolExecutor(PREFETCHED_UNITS) as threads:
        for start in range(0, len(order), _AT_ONCE):
            report(start, len(order))
            some = order[start : start + _AT_ONCE]
            probed |= zip(some, threads.map(lambda i: probe(recordings[i], config, identify=False), some), strict=True)
            sample = ProbeSample(recordings=len(recordings), probed=[probed[index] for index in sorted(probed)])
            if len(probed) >= _MIN_PROBED and (not sample.usable or sample.duration_error <= _GOOD_ENOUGH):
                break
    if not sample.usable:
        kinds = "; ".join(f"{kind.count} × {kind.reason}, e.g. {kind.example}" for kind in sample.unusable()[:3])
        raise ListingError(
            f"none of the {len(probed)} recordings that were probed, of {len(recordings)}, can be used: {kinds}",
            remedy="check the addresses of the listing, and the files",
        )
    return sample
