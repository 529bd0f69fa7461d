"""Near-duplicates: texts that share most of their words, and whether it is also the same sound.

A text is known by the eight smallest hashes of its runs of four words: only texts that share one of them are compared word by
word. A sound is known by its spectrum over time, aligned in time; level, codec and sample rate do not matter, another reading
of the same text is something else.

Shapes: S samples at 16 kHz, T frames of 10 ms, F bands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, stft

from voxbeam.schemas.formats import ASR_RATE

RUN, SKETCH = 4, 8
MIN_SHARED = 0.5
"""of the runs of the shorter text, those that both have"""
MAX_ALIKE = 200
"""a run of words that more texts have is a figure of speech"""
SAME_SOUND = 0.8
"""correlation of two spectra over time from which they are one recording; two readings have less than 0.6"""
_BANDS = 40


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two texts that are nearly the same."""

    one: str
    other: str
    shared: float
    """of the runs of the shorter text, those that the other has too"""
    sound: float | None = None
    """correlation of their spectra, −1 to 1; None if it was not compared"""

    @property
    def same_sound(self) -> bool:
        return self.sound is not None and self.sound >= SAME_SOUND


def similar_texts(
    texts: Mapping[str, Sequence[str]], against: Mapping[str, Sequence[str]] | None = None, min_shared: float = MIN_SHARED
) -> list[Pair]:
    """Pairs of keys whose words are nearly the same: within one collection, or between two of them.

    Args:
        texts: key → words, as `spoken_words` gives them. Texts of fewer than four words are too common to tell.
        against: a second collection; pairs then have one key of either.
        min_shared: of the runs of the shorter text.
    """
    runs = {(0, key): _runs(words) for key, words in texts.items()}
    runs |= {(1, key): _runs(words) for key, words in (against or {}).items()}
    alike: dict[int, list[tuple[int, str]]] = {}
    for place, hashes in runs.items():
        for value in sorted(hashes)[:SKETCH]:
            alike.setdefault(value, []).append(place)
    seen: set[tuple[tuple[int, str], tuple[int, str]]] = set()
    pairs: list[Pair] = []
    for places in alike.values():
        if not 1 < len(places) <= MAX_ALIKE:
            continue
        for pair in combinations(sorted(places), 2):
            if pair in seen or (against is not None and pair[0][0] == pair[1][0]):
                continue
            seen.add(pair)
            one, other = (runs[place] for place in pair)
            shared = len(one & other) / min(len(one), len(other))
            if shared >= min_shared:
                pairs.append(Pair(one=pair[0][1], other=pair[1][1], shared=shared))
    return sorted(pairs, key=lambda pair: (-pair.shared, pair.one, pair.other))


def compare_sounds(
    pairs: Sequence[Pair], sound_of: Callable[[str], NDArray[np.float32]], other_sound_of: Callable[[str], NDArray[np.float32]]
) -> Iterator[Pair]:
    """The pairs with the correlation of their sounds; the functions give waveforms [S] at 16 kHz."""
    for pair in pairs:
        value = sound_correlation(sound_of(pair.one), other_sound_of(pair.other))
        yield Pair(one=pair.one, other=pair.other, shared=pair.shared, sound=value)


def copies(pairs: Sequence[Pair], order: Sequence[str]) -> dict[str, str]:
    """Of keys whose sound is there twice: those to leave out, each with the one that stays.

    `order` has every key, the one that rather stays first. No two keys that stay are the same sound.
    """
    same: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.same_sound:
            same.setdefault(pair.one, []).append(pair.other)
            same.setdefault(pair.other, []).append(pair.one)
    stays: set[str] = set()
    out: dict[str, str] = {}
    for key in order:
        kept = [other for other in same.get(key, ()) if other in stays]
        if kept:
            out[key] = kept[0]
        elif key in same:
            stays.add(key)
    return out


def sound_correlation(one_S: NDArray[np.float32], other_S: NDArray[np.float32]) -> float:
    """How alike two sounds are, −1 to 1, where they lie best on each other, over at least three quarters of the shorter one."""
    one_TF, other_TF = (_spectrum(wave) for wave in (one_S, other_S))
    if len(one_TF) > len(other_TF):
        one_TF, other_TF = other_TF, one_TF
    if not len(one_TF):
        return 0.0
    edge = len(one_TF) // 4
    other_TF = np.pad(other_TF, ((edge, edge), (0, 0)))
    there_T = np.pad(np.ones(len(other_TF) - 2 * edge), edge)
    products_T = fftconvolve(other_TF, one_TF[::-1], axes=0, mode="valid").sum(axis=1)
    energy_T = fftconvolve((other_TF**2).sum(axis=1), np.ones(len(one_TF)), mode="valid")
    own_T = fftconvolve(there_T, (one_TF**2).sum(axis=1)[::-1], mode="valid")
    return float((products_T / np.sqrt(np.maximum(energy_T * own_T, 1e-9))).max())


def _spectrum(wave_S: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels [T, F] in bands, less the mean of each band: what changes over time."""
    if len(wave_S) < ASR_RATE // 2:
        return np.zeros((0, _BANDS))
    _, _, spectrum_FT = stft(wave_S, fs=ASR_RATE, nperseg=400, noverlap=240, nfft=512, boundary=None, padded=False)
    edges = np.unique(np.round(np.geomspace(4, 240, _BANDS + 1)).astype(int))
    power_FT = np.square(np.abs(spectrum_FT))
    level_TF = np.log(np.add.reduceat(power_FT, edges[:-1], axis=0)[: len(edges) - 1] + 1e-3 * power_FT.mean() + 1e-12).T
    return level_TF - level_TF.mean(axis=0)


def _runs(words: Sequence[str]) -> set[int]:
    runs = (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return {int.from_bytes(blake2b(run.encode(), digest_size=8).digest(), "little") for run in runs}
