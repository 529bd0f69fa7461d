"""Voices for Kokoro: mixtures of its named ones, with another pitch, rhythm and microphone.

A style has two halves: timbre, and manner (rhythm and melody). Each is mixed by itself, so that thousands of voices come from a
few dozen. `HELD_OUT` are in none of them.

Shapes: I identities, M named voices of a mixture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HELD_OUT = ("af_bella", "am_fenrir", "bf_emma", "bm_lewis")
"""named voices that no training identity contains"""
CHANNELS = 800
"""rooms and microphones"""
MIXED = 3


def draw_identities(names: list[str], count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Fields of `count` identities; the first are the named English voices as they are.

    The weights of a timbre can be below zero, so that it is outside of what lies between the named voices.
    """
    rng = np.random.default_rng(seed)
    known = [i for i, name in enumerate(names) if name not in HELD_OUT]
    english = [i for i in known if names[i][0] in "ab"]
    foreign = [i for i in known if names[i][0] not in "ab"]
    timbre, manner = np.zeros((count, MIXED), np.int16), np.zeros((count, MIXED), np.int16)
    timbre_weights, manner_weights = np.zeros((count, MIXED), np.float32), np.zeros((count, MIXED), np.float32)
    for row in range(count):
        timbre[row] = rng.choice(english if rng.random() < 0.45 else known, MIXED, replace=False)
        manner[row] = rng.choice(english, MIXED, replace=False)
        if rng.random() < 0.15:
            manner[row, 0] = rng.choice(foreign)
        # half of them speak in the manner of their timbre
        if rng.random() < 0.5:
            manner[row] = timbre[row]
        timbre_weights[row] = stretched(rng.dirichlet((0.5,) * MIXED), rng.uniform(1, 1.25))
        same = (manner[row] == timbre[row]).all()
        manner_weights[row] = timbre_weights[row] if same else rng.dirichlet((0.5,) * MIXED)
        if row < len(english):
            timbre[row] = manner[row] = english[row]
            timbre_weights[row] = manner_weights[row] = (1, 0, 0)
    changed = np.arange(count) >= len(english)
    return {
        "identity_timbre": timbre,
        "identity_timbre_weights": timbre_weights,
        "identity_manner": manner,
        "identity_manner_weights": manner_weights,
        # resampling moves pitch and formants together, the melody alone moves the pitch
        "identity_pitch": drawn(rng, changed, 0.55, lambda n: np.exp(rng.uniform(np.log(0.86), np.log(1.17), n))),
        "identity_melody": drawn(rng, changed, 0.4, lambda n: np.exp(rng.normal(0, 0.09, n)).clip(0.8, 1.25)),
        "identity_liveliness": drawn(rng, changed, 0.6, lambda n: rng.uniform(0.55, 1.5, n)),
        "identity_speed": np.exp(rng.normal(0.02, 0.11, count)).clip(0.75, 1.35).astype(np.float32),
        "identity_channel": np.where(changed, rng.integers(0, CHANNELS, count), 0).astype(np.int16),
    }


def stretched(weights: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Weights that still sum to one, farther from their mean."""
    return 1 / len(weights) + factor * (weights - 1 / len(weights))


def drawn(rng: np.random.Generator, changed: NDArray[np.bool_], share: float, values: Any) -> NDArray[np.float32]:
    """Values for a share of the changed identities, one for the others."""
    count = len(changed)
    return np.where(changed & (rng.random(count) < share), values(count), 1).astype(np.float32)
