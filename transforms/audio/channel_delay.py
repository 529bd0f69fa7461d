"""Channel delay: whether one of two channels is the other one later, as where a sound went two ways. Runs inside the sandbox.

Their mean is the same speech twice: an echo, or the hollow sound of a comb filter. Two microphones in one room also hear with a
delay, but of less than 5 ms, or each with other reflections, and then they are not alike.
"""

import numpy as np
from numpy.typing import NDArray

_RATE = 4_000
"""to which sound is brought by means of neighbors: enough to tell delays, and cheap"""
_BLOCK = 2 * _RATE
_MAX_BLOCKS = 150
"""five minutes show it"""
_MAX_DELAY = _RATE
"""one second"""
_MIN_DELAY = _RATE // 200
_ALIKE = 0.9


class DelayMeter:
    """The cross-spectrum of two channels [2, n] of the first minutes of a recording."""

    def __init__(self, rate: int) -> None:
        self._rate, self._factor = rate, max(1, round(rate / _RATE))
        self._rest = np.zeros((2, 0))
        self._block = np.zeros((2, 0))
        self._blocks = 0
        self._cross = np.zeros(_BLOCK + 1, dtype=np.complex128)
        self._power = np.zeros(2)

    def add(self, x: NDArray[np.float64]) -> None:
        """Adds samples [2, n]."""
        if self._blocks >= _MAX_BLOCKS or not np.isfinite(x).all():
            return
        x = np.concatenate([self._rest, x], axis=1)
        whole = x.shape[1] // self._factor
        self._rest = x[:, whole * self._factor :]
        low = x[:, : whole * self._factor].reshape(2, whole, self._factor).mean(axis=2)
        self._block = np.concatenate([self._block, low], axis=1)
        while self._block.shape[1] >= _BLOCK and self._blocks < _MAX_BLOCKS:
            block, self._block = self._block[:, :_BLOCK], self._block[:, _BLOCK:]
            spectra = np.fft.rfft(block, 2 * _BLOCK, axis=1)
            self._cross += np.conj(spectra[0]) * spectra[1]
            self._power += np.square(block).sum(axis=1)
            self._blocks += 1

    def delay_s(self) -> float | None:
        """By how much the second channel is the first one later, below zero if it is earlier; None if it is another sound."""
        if not self._power.all():
            return None
        correlation = np.fft.irfft(self._cross)
        lags = np.concatenate([np.arange(_MIN_DELAY, _MAX_DELAY), -np.arange(_MIN_DELAY, _MAX_DELAY)])
        likeness = correlation[lags] / (1 - np.abs(lags) / _BLOCK) / np.sqrt(self._power.prod())
        best = int(np.argmax(likeness))
        if likeness[best] < _ALIKE or correlation[0] >= correlation[lags[best]]:
            return None
        return float(lags[best]) / (self._rate / self._factor)
