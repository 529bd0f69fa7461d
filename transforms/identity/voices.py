"""Voices as arrays, and which listed names are names.

Shapes: N voices in order of their keys, D embedding values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.recording import names_nobody

MAX_WEIGHT_MS, MIN_WEIGHT_MS = 30_000, 1_000
"""a voice counts by its speech between these: an embedding is taken from at most 30 s"""


def real_name(listed: str | None, recording: str) -> str | None:
    """The listed name if it names a person: not empty, not a word for "unknown", not the recording or one of its voices."""
    name = (listed or "").strip()
    if names_nobody(name) or name == recording or name.startswith(f"{recording}_v"):
        return None
    return name


@dataclass(frozen=True)
class Voices:
    """The voices of a corpus, in order of key."""

    keys: list[str]
    recording_N: NDArray[np.int64]
    """number of the recording"""
    name_N: NDArray[np.int64]
    """number of the listed name; -1 without one"""
    speech_ms_N: NDArray[np.int64]
    embedding_ND: NDArray[np.float16]
    """of length 1, or zeros"""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def audible_N(self) -> NDArray[np.bool_]:
        """Whether a voice has an embedding."""
        return np.asarray(self.embedding_ND.any(axis=1))

    @property
    def weight_N(self) -> NDArray[np.float32]:
        """What a voice counts in means: seconds of speech, within bounds."""
        return (np.clip(self.speech_ms_N, MIN_WEIGHT_MS, MAX_WEIGHT_MS) / 1000).astype(np.float32)


def make_voices(
    keys: Sequence[str],
    recordings: Sequence[str],
    names: Sequence[str | None],
    speech_ms: Sequence[int],
    embedding_ND: NDArray[np.float16],
) -> Voices:
    """Voices in any order → in order of key, recordings and names as numbers."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    known: dict[str, int] = {}
    name_numbers: dict[str, int] = {}
    recording_N = np.fromiter((known.setdefault(recordings[i], len(known)) for i in order), np.int64, len(order))
    listed = (names[i] for i in order)
    name_N = np.fromiter(
        (-1 if name is None else name_numbers.setdefault(name, len(name_numbers)) for name in listed), np.int64, len(order)
    )
    return Voices(
        keys=[keys[i] for i in order],
        recording_N=recording_N,
        name_N=name_N,
        speech_ms_N=np.asarray(speech_ms, np.int64)[order],
        embedding_ND=embedding_ND[order],
    )
