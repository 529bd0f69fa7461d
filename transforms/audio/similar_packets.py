"""Similar packets: repeated packets behind a lossy codec, which leaves no two copies equal (repeats.py finds equal ones).

A stretch repeats what is right before it if it correlates with it, most of all at exactly a packet's distance, and much less
with anything nearer. Speech alone is not like that: what is alike after several periods of a voice is at least as much alike
after one, and the periods of a creaking voice are no packets. Hum is: so nothing below a voice counts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

RATE = 16_000
_LAGS_MS = (20, 30, 40, 60)
"""packets of telephony and of meetings; a voice of 100 Hz is alike after 10 ms, so shorter ones cannot be told from it"""
_BLOCK_S = 10
_HIGH_PASS_HZ = 120.0
_MIN_CORRELATION = 0.95
_MIN_MARGIN = 0.2
"""by which the correlation is above that at all nearer lags"""
_NEAREST_MS = 2
_FARTHEST = 0.92
"""of the packet: the nearer lags that are compared"""
_BEYOND = 1.08
_MAX_SHIFT = 1
"""samples by which the best lag may differ from the packet's"""
_MIN_POWER = 0.05
"""of the block's: -13 dB"""
_MAX_RATIO = 4.0
"""of the powers of the two: speech that begins or ends is no repeat"""


def similar_stretches(mono_T: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Disjoint stretches (first sample, end) of sound at 16 kHz, in order, that repeat the packet of 20 to 60 ms before them."""
    found: list[tuple[float, int, int]] = []
    high_pass = butter(2, _HIGH_PASS_HZ, "highpass", fs=RATE, output="sos")
    overlap, block = 3 * RATE * max(_LAGS_MS) // 1000, _BLOCK_S * RATE
    for start in range(0, len(mono_T), block):
        part = sosfilt(high_pass, mono_T[max(0, start - overlap) : start + block].astype(np.float64))
        power = float(np.square(part).mean()) if len(part) else 0.0
        for lag_ms in _LAGS_MS if power > 0 else ():
            found += [
                (margin, at + max(0, start - overlap), lag) for margin, at, lag in _repeats(part, RATE * lag_ms // 1000, power)
            ]
    kept: list[tuple[int, int]] = []
    for _, at, lag in sorted(found, reverse=True):
        if all(at + lag <= begin or at >= end for begin, end in kept):
            kept.append((at, at + lag))
    return sorted(kept)


def _repeats(part_T: NDArray[np.float64], lag: int, power: float) -> list[tuple[float, int, int]]:
    """(margin, first sample, lag) of stretches that are like the one `lag` samples before, and like no nearer one."""
    if len(part_T) < 3 * lag:
        return []
    product_N = _sums(part_T[lag:] * part_T[:-lag], lag)
    energy_N = _sums(np.square(part_T), lag)
    before_N, here_N = energy_N[: len(product_N)], energy_N[lag : lag + len(product_N)]
    correlation_N = product_N / np.sqrt(before_N * here_N + 1e-12)
    loud_N = np.minimum(before_N, here_N) > _MIN_POWER * power * lag
    alike_N = np.maximum(before_N, here_N) < _MAX_RATIO * np.minimum(before_N, here_N)
    found = []
    candidates_N = np.flatnonzero((correlation_N > _MIN_CORRELATION) & loud_N & alike_N)
    while len(candidates_N):
        best = int(candidates_N[np.argmax(correlation_N[candidates_N])])
        nearer, shift = _around(part_T, best + lag, lag)
        margin = float(correlation_N[best]) - nearer
        if margin > _MIN_MARGIN and shift <= _MAX_SHIFT:
            found.append((margin, best + lag, lag))
        candidates_N = candidates_N[np.abs(candidates_N - best) > lag]
    return found


def _sums(values_T: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sums of every `width` successive values."""
    total_T = np.concatenate([[0.0], np.cumsum(values_T)])
    return total_T[width:] - total_T[:-width]


def _around(part_T: NDArray[np.float64], at: int, lag: int) -> tuple[float, int]:
    """Of `lag` samples from `at`: their highest correlation at a nearer lag, and how far the best lag near `lag` is from it."""
    nearest, farthest = RATE * _NEAREST_MS // 1000, min(int(_BEYOND * lag), at)
    here_T = part_T[at : at + lag]
    before_NT = np.lib.stride_tricks.sliding_window_view(part_T[at - farthest : at + lag - nearest], lag)[::-1]
    norms_N = np.sqrt(np.square(before_NT).sum(axis=1) * np.square(here_T).sum()) + 1e-12
    correlation_N = before_NT @ here_T / norms_N  # of the lags from `nearest` on
    edge = int(_FARTHEST * lag)
    best = edge + int(np.argmax(correlation_N[edge - nearest :]))
    return float(correlation_N[: edge - nearest].max()), abs(best - lag)
