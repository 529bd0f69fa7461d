"""Utterances with the time of every phone, and packed documents of prompts and targets for training in the speaking condition.

A document is what `Synthesizer.request` makes: the phones of a prompt of about three seconds, a word boundary, the phones of the
target, and the codes of both. The prompt is a window of another utterance of the same voice; it may begin at any word, and ends
between two words, as the synthesizer cuts it, or sometimes within one.

Shapes: U utterances, W words, P phones, F codec frames in all, K codebooks, D documents of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FIELDS = ("prompt_phone", "prompt_phones", "target_phone", "target_phones", "prompt_frame", "prompt_frames", "target_frame",
          "target_frames", "prompt_offset", "target_offset", "guided")  # fmt: skip
"""of a document: first phones and frames in the flat arrays and their numbers; the utterance's phones before each; whether the
times of its phones are exact"""
WITHIN_WORD = 0.15
"""share of the prompts that end at any time"""
STYLE_STEP = 8
"""of the lengths for which Kokoro has a style, every so many is in the prepared file"""
MAX_DOCUMENT = 1_900
"""positions of the longest document"""


@dataclass
class Utterances:
    """Flat arrays; utterance u has phones [phone_at[u], + phone_counts[u]) and frames [frame_at[u], + frames[u])."""

    voice_U: Array
    phone_counts_U: Array
    frames_U: Array
    phones_P: Array
    owner_F: Array
    """phone of its utterance that a frame belongs to; the number of phones after the last"""
    codes_KF: Array
    exact_U: Array
    times_P: Array
    """first frame of each phone"""
    held_U: Array
    """is for validation"""

    def __post_init__(self) -> None:
        self.phone_at_U = np.cumsum(self.phone_counts_U) - self.phone_counts_U
        self.frame_at_U = np.cumsum(self.frames_U) - self.frames_U
        utterance_P = np.repeat(np.arange(len(self.phone_counts_U)), self.phone_counts_U)
        local_P = np.arange(len(self.phones_P)) - self.phone_at_U[utterance_P]
        first_P = (local_P == 0) | (np.roll(self.phones_P, 1) == 1)
        first_P &= self.phones_P != 1
        self.word_utterance_W = utterance_P[first_P]
        self.word_phone_W = local_P[first_P]
        self.word_start_W = self.times_P[first_P]
        counts_U = np.bincount(self.word_utterance_W, minlength=len(self.phone_counts_U))
        self.word_counts_U, self.word_at_U = counts_U, np.cumsum(counts_U) - counts_U
        last_W = np.append(self.word_utterance_W[1:] != self.word_utterance_W[:-1], True)
        next_start = np.append(self.word_start_W[1:], 0)
        next_phone = np.append(self.word_phone_W[1:], 0) - 1
        self.word_end_W = np.where(last_W, self.frames_U[self.word_utterance_W], next_start)
        """where the next word begins"""
        boundary_W = np.append(np.flatnonzero(first_P)[1:], 1) - 1
        self.word_close_W = np.where(last_W, self.word_end_W, np.minimum(self.times_P[boundary_W], self.word_end_W))
        """where the word itself ends"""
        self.word_phone_end_W = np.where(last_W, self.phone_counts_U[self.word_utterance_W], next_phone)


def owners(times: Array, counts_U: Array, frames_U: Array) -> Array:
    """Phone of each frame, of utterances with `counts` + 1 times each (the last is the end of speech)."""
    parts, at = [], 0
    for count, frames in zip(counts_U, frames_U, strict=True):
        starts = np.round(times[at : at + count + 1]).astype(np.int64)
        at += count + 1
        parts.append(np.searchsorted(starts[1:], np.arange(frames), side="right"))
    return np.concatenate(parts).astype(np.int16)


Piece = dict[str, Array]
"""the fields of `Utterances` from one file"""


def read_round(file: Path, sentences: dict[str, Array], held: int) -> Piece:
    """A round that `speak.py` made; one of `held` utterances is for validation (0 for none)."""
    counts_S = sentences["phone_counts"].astype(np.int64)
    at_S = np.cumsum(counts_S) - counts_S
    arrays = dict(np.load(file))
    chosen, frames = arrays["sentence"], arrays["frames"].astype(np.int64)
    counts, times = counts_S[chosen], arrays["phone_times"]
    return {
        "voice_U": arrays["identity"].astype(np.int64),
        "phone_counts_U": counts,
        "frames_U": frames,
        "phones_P": np.concatenate([sentences["phones"][at_S[i] : at_S[i] + counts_S[i]] for i in chosen]),
        "owner_F": owners(times, counts, frames),
        "codes_KF": arrays["codes"].astype(np.int16),
        "exact_U": np.ones(len(chosen), bool),
        "times_P": np.delete(times, np.cumsum(counts + 1) - 1),
        "held_U": np.arange(len(chosen)) % held == 5 if held else np.zeros(len(chosen), bool),
    }


def read_recorded(file: Path, first_voice: int) -> Piece:
    """Recordings: their phones have the times of Whisper's words. Codes are packed in ten bits each."""
    arrays = dict(np.load(file))
    counts, frames = arrays["phone_counts"].astype(np.int64), arrays["frames"].astype(np.int64)
    start = arrays["times"].astype(np.float32) * 75
    with_ends = np.insert(start, np.cumsum(counts), arrays["ends"] * 75)
    return {
        "voice_U": first_voice + np.unique(arrays["speakers"], return_inverse=True)[1],
        "phone_counts_U": counts,
        "frames_U": frames,
        "phones_P": arrays["phones"],
        "owner_F": owners(with_ends, counts, frames),
        "codes_KF": unpack_codes(arrays["codes"], 8),
        "exact_U": np.zeros(len(counts), bool),
        "times_P": start,
        "held_U": arrays["held"],
    }


def join(pieces: list[Piece]) -> Utterances:
    """All utterances of some files."""
    return Utterances(**{name: np.concatenate([piece[name] for piece in pieces], -1) for name in pieces[0]})


def pack_codes(codes_KF: Array) -> Array:
    """Codes of ten bits as bytes."""
    bits = (codes_KF.reshape(-1, 1) >> np.arange(9, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel())


def unpack_codes(packed: Array, codebooks: int) -> Array:
    """The codes [K, F] of `pack_codes`."""
    flat = np.unpackbits(packed)
    bits = flat[: len(flat) // (10 * codebooks) * 10 * codebooks].reshape(-1, 10)
    return (bits @ (1 << np.arange(9, -1, -1))).astype(np.int16).reshape(codebooks, -1)


def draw_documents(data: Utterances, chosen_U: Array, rng: np.random.Generator, prompted: float) -> Array:
    """One document [fields] per chosen utterance; without a prompt where the voice has no other or by chance."""
    order = np.argsort(data.voice_U, kind="stable")
    sorted_voice = data.voice_U[order]
    first = np.searchsorted(sorted_voice, data.voice_U[chosen_U])
    count = np.searchsorted(sorted_voice, data.voice_U[chosen_U], "right") - first
    partner = chosen_U.copy()
    for _ in range(4):  # an utterance of at least two seconds if one is found
        drawn = order[first + rng.integers(0, count)]
        partner = np.where((partner == chosen_U) | (data.frames_U[partner] < 150), drawn, partner)
    rank_U = np.empty(len(order), np.int64)
    rank_U[order] = np.arange(len(order))
    neighbor = order[first + (rank_U[chosen_U] - first + 1) % count]
    partner = np.where(partner == chosen_U, neighbor, partner)
    alone = partner == chosen_U
    n = len(chosen_U)
    length = np.where(rng.random(n) < 0.5, 225, rng.integers(110, 340, n))
    words = data.word_counts_U[partner]
    latest = np.maximum(data.frames_U[partner] - length, 0)
    key_W = data.word_utterance_W * 100_000.0 + data.word_start_W
    last_word = np.searchsorted(key_W, partner * 100_000.0 + latest, "right") - 1 - data.word_at_U[partner]
    word = np.where(rng.random(n) < 0.5, 0, (rng.random(n) * (np.clip(last_word, 0, None) + 1)).astype(np.int64)).clip(
        0, words - 1
    )
    w0 = data.word_at_U[partner] + word
    begin = np.where(word == 0, 0, np.maximum(data.word_start_W[w0] - rng.integers(0, 5, n), 0)).astype(np.int64)
    end = np.minimum(begin + length, data.frames_U[partner])
    middle_W = data.word_utterance_W * 100_000.0 + (data.word_start_W + data.word_end_W) / 2
    w1 = np.maximum(np.searchsorted(middle_W, partner * 100_000.0 + end), w0 + 1)
    close, following = data.word_close_W[w1 - 1], data.word_end_W[w1 - 1]
    between = np.round(close + rng.random(n) * (following - close)).astype(np.int64)
    end = np.where((rng.random(n) < WITHIN_WORD) | (between < begin + 20), end, between)
    p0, p1 = data.word_phone_W[w0], data.word_phone_end_W[w1 - 1]
    t0, t1 = np.zeros(n, np.int64), data.phone_counts_U[chosen_U]
    f0 = np.zeros(n, np.int64)
    # the only utterance of its voice: its beginning is the prompt, up to a word boundary
    own_end = np.searchsorted(key_W, chosen_U * 100_000.0 + np.minimum(length, data.frames_U[chosen_U] // 2))
    own_word = np.clip(own_end - data.word_at_U[chosen_U], 1, np.maximum(data.word_counts_U[chosen_U] - 1, 1))
    wk = np.minimum(data.word_at_U[chosen_U] + own_word, len(data.word_start_W) - 1)
    usable = alone & (data.word_counts_U[chosen_U] >= 3)
    cut = data.word_start_W[wk].astype(np.int64)
    begin, end = np.where(usable, 0, begin), np.where(usable, cut, end)
    p0, p1 = np.where(usable, 0, p0), np.where(usable, data.word_phone_W[wk] - 1, p1)
    t0, f0 = np.where(usable, data.word_phone_W[wk], t0), np.where(usable, cut, f0)
    silent = (alone & ~usable) | (rng.random(n) >= prompted) | (data.held_U[partner] & ~data.held_U[chosen_U])
    begin, end, p0, p1 = (np.where(silent, 0, x) for x in (begin, end, p0, p1))
    t0, f0 = np.where(silent, 0, t0), np.where(silent, 0, f0)
    columns = {
        "prompt_phone": data.phone_at_U[partner] + p0,
        "prompt_phones": p1 - p0,
        "target_phone": data.phone_at_U[chosen_U] + t0,
        "target_phones": t1 - t0,
        "prompt_frame": data.frame_at_U[partner] + begin,
        "prompt_frames": end - begin,
        "target_frame": data.frame_at_U[chosen_U] + f0,
        "target_frames": data.frames_U[chosen_U] - f0,
        "prompt_offset": p0,
        "target_offset": t0,
        "guided": (data.exact_U[chosen_U] & data.exact_U[partner]).astype(np.int64),
    }
    return np.stack([columns[name] for name in FIELDS], 1).astype(np.int64)


def document_lengths(documents_DF: Array) -> Array:
    """Positions of each document: phones, word boundary after the prompt, end, start, frames."""
    c = dict(zip(FIELDS, documents_DF.T, strict=True))
    return c["prompt_phones"] + (c["prompt_phones"] > 0) + c["target_phones"] + 2 + c["prompt_frames"] + c["target_frames"]


def pack_documents(documents_DF: Array, size: int, most: int) -> list[Array]:
    """Batches of documents, in order, that fit in `size` positions. Rows of zeros fill up to `most`."""
    lengths = document_lengths(documents_DF)
    begins, used = [0], 0
    for i, length in enumerate(lengths):
        if used + length > size or i - begins[-1] == most:
            begins.append(i)
            used = 0
        used += int(length)
    edges = [*begins, len(lengths)] if len(lengths) else []
    return [np.pad(documents_DF[begin:end], ((0, most - (end - begin)), (0, 0))) for begin, end in pairwise(edges)]
