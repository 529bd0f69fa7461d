"""The watermark: every synthesized sound carries 32 bits that name the event that allowed it, spread over time and frequency.

The sound is divided into tiles of 43 ms and 100 Hz. Each is made a little louder or softer, by at most `MAX_DB`, as a keyed sign
says; loud tiles change least, so that all of the change stays `MIN_SNR_DB` below the sound. A reader takes the energy of every
tile in dB, less that of the bands beside it, and adds these up with the signs of every value of every symbol.

How sure a reader is needs no recordings: of a sound that was made without the key, each sum is one of random signs, and
Hoeffding's inequality bounds it, whatever the sound is. `false_alarm` is that bound for all payloads, positions and speeds that
were tried.
docs/safety.md has what the mark survives.

Shapes: S samples at 24 kHz, N frames, T tiles of a period, F bands, V values of a symbol.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from voxbeam.safety.keys import PUBLIC_KEY
from voxbeam.safety.mark_code import BITS, SYMBOLS, VALUES, decode, pattern, signs, symbol_of_tile
from voxbeam.schemas.formats import CODEC_RATE

NO_EVENT = 0
"""payload of speech that no event of a ledger allowed: that of an evaluation"""
MAX_DB, MIN_SNR_DB = 1.5, 25.0
MAX_FALSE_ALARM = 1e-6
"""probability below which a mark is reported"""
WINDOW, HOP = 1024, 256
TILE = 4
"""frames of a tile"""
PERIOD = 48
"""tiles in time after which the pattern begins again: 2 s"""
BAND_HZ, LOW_HZ, HIGH_HZ = 100, 240, 7440
BANDS = (HIGH_HZ - LOW_HZ) // BAND_HZ
CLIP_DB = 3.0
"""differences are cut here: a few loud onsets must not outweigh all other tiles"""
READ_S, READ_HOP_S = 8.0, 4.0
"""a long sound is read in parts, so that a marked part is found among others"""
SPEEDS = (1.0,)
MORE_SPEEDS = tuple(round(0.9 + 0.01 * step, 2) for step in range(21))
"""speeds of a sound that was stretched or squeezed, which a reader tries too"""
_DECODED = 3
"""parts, speeds and phases of which a word is decoded: the likeliest"""
_FLOOR = 1e-10
_TAPER = np.hanning(WINDOW + 1)[:-1]
_OVERLAP = 1.5
"""sum of the squared windows that overlap"""


@dataclass(frozen=True)
class Mark:
    """A mark that was read."""

    payload: int
    score: float
    """in standard deviations of a sound without a mark"""
    false_alarm: float
    """the probability, over keys, that a sound made without this one shows such a mark anywhere; at most"""
    start_s: float
    """where the part begins in which it is strongest"""
    speed: float


@cache
def _band_matrix() -> NDArray[np.float64]:
    """Which bins of a spectrum belong to which band [bins, F]."""
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / CODEC_RATE)
    edges_hz = LOW_HZ + BAND_HZ * np.arange(BANDS + 1)
    return ((bins_hz[:, None] >= edges_hz[:-1]) & (bins_hz[:, None] < edges_hz[1:])).astype(np.float64)


def _spectra(wave_S: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Spectra of the frames that begin at every HOP [N, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(wave_S, WINDOW)[::HOP]
    return np.fft.rfft(frames * _TAPER, axis=1)


def _gains(spectra: NDArray[np.complex128], tile_N: NDArray[np.int64], key: bytes, payload: int) -> NDArray[np.float64]:
    """What every bin of every frame is multiplied by."""
    bands = _band_matrix()
    power = np.abs(spectra) ** 2
    power_NF = power @ bands
    first = int(tile_N[0])
    energy = np.zeros((int(tile_N[-1]) - first + 1, BANDS))
    np.add.at(energy, tile_N - first, power_NF)
    energy_NF = np.maximum(energy[tile_N - first], _FLOOR)
    signs_NF = pattern(key, payload, PERIOD, BANDS)[tile_N % PERIOD]
    budget = power.sum() * 10 ** (-(MIN_SNR_DB - 1.5) / 10)  # frames overlap and share a change, so less of it comes out
    low, high = -12.0, 12.0
    for _ in range(30):
        middle = (low + high) / 2
        spent = (power_NF * (10 ** (_depth(energy_NF, middle) / 20) - 1) ** 2).sum()
        low, high = (middle, high) if spent < budget else (low, middle)
    gains_NF = 10 ** (signs_NF * _depth(energy_NF, low) / 20)
    return np.asarray(1 + (gains_NF - 1) @ bands.T)


def _depth(energy_NF: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """By how many dB each tile changes: the less, the louder it is."""
    return np.minimum(MAX_DB, 10**level * float(np.median(energy_NF)) / energy_NF)


class Marker:
    """Marks a sound that arrives in chunks. What comes out is 43 ms late; `finish` gives the rest."""

    def __init__(self, payload: int, key: bytes = PUBLIC_KEY) -> None:
        self.payload, self.key = payload, key
        self._in_S = np.zeros(WINDOW)  # silence before the first sample: every frame that has some of it is there
        self._out_S = np.zeros(0)
        self._frame = 0
        self._to_skip = WINDOW
        self._owed = 0

    def feed(self, wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
        """As many marked samples as no later chunk can change."""
        self._owed += len(wave_S)
        self._in_S = np.concatenate([self._in_S, wave_S.astype(np.float64)])
        return self._advance()

    def finish(self) -> NDArray[np.float32]:
        """The marked samples that are left."""
        self._in_S = np.concatenate([self._in_S, np.zeros(WINDOW + HOP)])
        return self._advance()

    def _advance(self) -> NDArray[np.float32]:
        count = (len(self._in_S) - WINDOW) // HOP + 1
        if count <= 0:
            return np.zeros(0, np.float32)
        spectra = _spectra(self._in_S)
        tile_N = (self._frame + np.arange(count)) // TILE
        frames = np.fft.irfft(spectra * _gains(spectra, tile_N, self.key, self.payload), axis=1) * _TAPER / _OVERLAP
        out_S = np.zeros((count - 1) * HOP + WINDOW)
        out_S[: len(self._out_S)] = self._out_S
        for number, frame in enumerate(frames):
            out_S[number * HOP : number * HOP + WINDOW] += frame
        self._frame += count
        self._in_S = self._in_S[count * HOP :]
        ready_S, self._out_S = out_S[: count * HOP], out_S[count * HOP :]
        ready_S, self._to_skip = ready_S[self._to_skip :], max(0, self._to_skip - len(ready_S))
        ready_S = ready_S[: self._owed]
        self._owed -= len(ready_S)
        return ready_S.astype(np.float32)


def mark_sound(wave_S: NDArray[np.float32], payload: int, key: bytes = PUBLIC_KEY) -> NDArray[np.float32]:
    """A sound [S] with the mark, as long as before, and as loud as before to 0.01 dB or so."""
    marker = Marker(payload, key)
    marked_S = np.concatenate([marker.feed(wave_S), marker.finish()])
    change_S = marked_S - wave_S
    spent = float((change_S**2).sum()) / max(_FLOOR, float((wave_S**2).sum()))
    scale = min(1.0, math.sqrt(10 ** (-MIN_SNR_DB / 10) / max(_FLOOR, spent)))
    return np.asarray(wave_S + scale * change_S, np.float32)


def read_mark(wave_S: NDArray[np.float32], key: bytes = PUBLIC_KEY, speeds: Sequence[float] = SPEEDS) -> Mark | None:
    """The surest mark in a sound [S] at 24 kHz, or in any part of it; None if there is none that is sure.

    The same sound gives the same answer on every machine, but for the last digits of the score.
    """
    mark = likeliest_mark(wave_S, key, speeds)
    return mark if mark.false_alarm <= MAX_FALSE_ALARM else None


def likeliest_mark(wave_S: NDArray[np.float32], key: bytes = PUBLIC_KEY, speeds: Sequence[float] = SPEEDS) -> Mark:
    """The same, also where it is most likely no mark."""
    found: list[tuple[float, float, float, NDArray[np.float32]]] = []
    for start, part_S in _parts(wave_S):
        energy_NF = np.abs(_spectra(np.concatenate([np.zeros(WINDOW), part_S, np.zeros(WINDOW)]))) ** 2 @ _band_matrix()
        for speed in speeds:
            for phase in range(TILE):
                scores_SV = _best_position(_fold(energy_NF, phase, speed), key)
                found.append((float(scores_SV.max(axis=1).sum()), start / CODEC_RATE, speed, scores_SV))
    likely = sorted(found, key=lambda one: one[0], reverse=True)[:_DECODED]
    words = [(*decode(scores_SV), start_s, speed) for _, start_s, speed, scores_SV in likely]
    payload, total, start_s, speed = max(words, key=lambda one: one[1])
    score = total / math.sqrt(SYMBOLS)
    log_tried = math.log(len(found)) + math.log(PERIOD) + BITS * math.log(2)
    false_alarm = math.exp(min(0.0, log_tried - score**2 / 2))
    return Mark(payload, score, false_alarm, start_s, speed)


def _parts(wave_S: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The parts of a sound that are read, each with its first sample. A short sound is one part."""
    length, hop = round(READ_S * CODEC_RATE), round(READ_HOP_S * CODEC_RATE)
    for start in range(0, max(1, len(wave_S) - length + hop), hop):
        yield start, wave_S[start : start + length].astype(np.float64)


def _fold(energy_NF: NDArray[np.float64], phase: int, speed: float) -> NDArray[np.float64]:
    """What the tiles of a period sum to [T, F], if a tile begins at frame `phase` and the sound runs at `speed`."""
    sums = np.concatenate([np.zeros((1, BANDS)), np.cumsum(energy_NF, axis=0)])
    edges = np.round(phase + TILE * speed * np.arange(len(energy_NF) // (TILE * min(1.0, speed)) + 1)).astype(np.int64)
    edges = edges[edges <= len(energy_NF)]
    folded_TF = np.zeros((PERIOD, BANDS))
    if len(edges) < 2:
        return folded_TF
    level = 10 * np.log10(sums[edges[1:]] - sums[edges[:-1]] + _FLOOR)
    beside = np.pad(level, ((0, 0), (1, 1)), mode="edge")
    change = np.clip(level - (beside[:, :-2] + beside[:, 2:]) / 2, -CLIP_DB, CLIP_DB)
    np.add.at(folded_TF, np.arange(len(change)) % PERIOD, change)
    return folded_TF


def _best_position(folded_TF: NDArray[np.float64], key: bytes) -> NDArray[np.float32]:
    """The scores [symbols, V] at the position in the period at which the best values of all symbols sum to most."""
    flat = folded_TF.astype(np.float32).ravel()
    scores = np.zeros((PERIOD, SYMBOLS, VALUES), np.float32)
    for symbol, (places, signs_NV) in enumerate(zip(_places(), _signs_by_symbol(key), strict=True)):
        values = flat[places]
        scores[:, symbol] = values @ signs_NV / np.maximum(1e-6, np.linalg.norm(values, axis=1))[:, None]
    best: NDArray[np.float32] = scores[int(scores.max(axis=2).sum(axis=1).argmax())]
    return best


@cache
def _places() -> tuple[NDArray[np.int64], ...]:
    """Where the tiles of each symbol are in a flat period, for every position of its beginning [PERIOD, tiles]."""
    owner_TF = symbol_of_tile(PERIOD, BANDS)
    found = []
    for symbol in range(SYMBOLS):
        tile, band = np.nonzero(owner_TF == symbol)
        found.append((tile + np.arange(PERIOD)[:, None]) % PERIOD * BANDS + band)
    return tuple(found)


@lru_cache(maxsize=4)
def _signs_by_symbol(key: bytes) -> tuple[NDArray[np.float32], ...]:
    """The signs of each symbol's tiles, [tiles, V]."""
    owner_TF, signs_TFV = symbol_of_tile(PERIOD, BANDS), signs(key, PERIOD, BANDS)
    return tuple(signs_TFV[owner_TF == symbol].astype(np.float32) for symbol in range(SYMBOLS))
