"""Near-duplicates: texts that share most of their words, and whether it is also the same sound.

A text is known by the eight smallest hashes of its runs of four words: only texts that share one of them are compared word by
word. A sound is known by its spectrum over time (models/sound_similarity.py). Shapes: S samples at 16 kHz.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.sound_similarity import SAME_SOUND, sound_correlation

RUN, SKETCH = 4, 8
MIN_SHARED = 0.5
"""of the runs of the shorter text, those that both have"""
MAX_ALIKE = 200
"""a run of words that more texts have is a figure of speech"""


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


def _runs(words: Sequence[str]) -> set[int]:
    runs = (" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return {int.from_bytes(blake2b(run.encode(), digest_size=8).digest(), "little") for run in runs}
