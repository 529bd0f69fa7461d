"""Ratios of sums over recordings, with an interval: every figure of an evaluation is one. Shape: R recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

RESAMPLES = 1000


@dataclass
class Ratio:
    """A figure as Σ numerator / Σ denominator; a recording adds to both."""

    name: str
    about: str
    """what is divided by what"""
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """recording → numerator, denominator"""

    def add(self, recording: str, numerator: float, denominator: float) -> None:
        before = self.parts.get(recording, (0.0, 0.0))
        self.parts[recording] = before[0] + numerator, before[1] + denominator

    @property
    def total(self) -> float:
        """The denominator of all recordings."""
        return sum(denominator for _, denominator in self.parts.values())

    @property
    def value(self) -> float | None:
        """None where nothing can be said."""
        return sum(numerator for numerator, _ in self.parts.values()) / self.total if self.total else None

    def interval(self, seed: int = 0) -> tuple[float, float] | None:
        """95 % of the values that other recordings of the same kind would give: a bootstrap over recordings.

        None for fewer than two recordings that count: of one, nothing can be said about others.
        """
        parts_R2 = np.array([part for _, part in sorted(self.parts.items()) if any(part)], np.float64)
        if len(parts_R2) < 2 or not self.total:
            return None
        drawn = np.random.default_rng(seed).integers(len(parts_R2), size=(RESAMPLES, len(parts_R2)))
        sums = parts_R2[drawn].sum(axis=1)
        values = sums[sums[:, 1] > 0]
        low, high = np.percentile(values[:, 0] / values[:, 1], [2.5, 97.5])
        return float(low), float(high)


class Ratios:
    """Several of them, in the order in which they were declared."""

    def __init__(self, about: Mapping[str, str]) -> None:
        self._all = {name: Ratio(name, text) for name, text in about.items()}

    def add(self, name: str, recording: str, numerator: float, denominator: float) -> None:
        self._all[name].add(recording, numerator, denominator)

    def __getitem__(self, name: str) -> Ratio:
        return self._all[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._all.values())
