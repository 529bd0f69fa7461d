"""Stream: the batches of a corpus, from a folder or a bucket, in an order that no number of ranks or threads changes.

Threads, not worker processes, read ahead: what they do is waiting for storage and copying bytes, for both of which Python
lets go of its lock, and a batch then needs no copy between processes. What comes next is a pure function of the manifest, the
settings and one integer (`voxbeam.trainer.data.sampler`), so a run can be continued anywhere, by any number of ranks and threads.

A folder's shards are mapped into memory (`code_reader.py`); a bucket's are fetched in blocks, a window ahead of what is read, to
a cache on local disk (`block_cache.py`). What is read ahead in memory is bounded too: a step has no more frames than its budget.

Shapes: K codebooks, T frames, L phones, W words.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.schemas.formats import FRAME_RATE
from voxbeam.trainer.data.block_cache import Blocks
from voxbeam.trainer.data.code_reader import are_codes, open_codes
from voxbeam.trainer.data.index import Index, open_index, separator_of
from voxbeam.trainer.data.sampler import Epochs, EpochSettings, Place, share

PROMPT_S = (3.0, 10.0)
"""how long an utterance is that may stand before another"""
T_ = TypeVar("T_")
R_ = TypeVar("R_")


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How a corpus is dealt out."""

    epochs: EpochSettings = field(default_factory=EpochSettings)
    rank_frames: int = 12_000
    """frames of a micro-batch at most, padding included: what one device can hold"""
    crop_s: tuple[float, float] = (10.0, 20.0)
    """a longer sample is cut at words to a length drawn from this range, where its words have times; else it stays whole"""
    threads: int = 1
    """that make steps; a second one mostly waits for Python's lock, unless a folder's disk is slow"""
    ahead: int = 4
    """steps that are read ahead"""
    cache_bytes: int = 32 << 30
    """of a bucket that are kept on local disk; two windows are kept in any case"""


Step = tuple[list[Batch], int]
"""What one rank does in one step: micro-batches, of which every rank has as many; and the state to go on from."""
_Placed = tuple[Place, NDArray[np.int64]]


class Stream:
    """The steps of one rank of `world`, over a split of a release, by default the latest.

    Raises StorageError where there is no corpus, ValueError for an empty split.
    """

    def __init__(
        self,
        uri: str,
        *,
        split: str = "train",
        release: int | None = None,
        settings: StreamSettings | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.settings = settings or StreamSettings()
        self.index = open_index(uri, split, release)
        self.rank, self.world = rank, world
        self.separator = separator_of(self.index.phones)
        epochs = self.settings.epochs
        shortest, longest = (round(edge * FRAME_RATE) for edge in self.settings.crop_s)
        croppable_N = np.diff(self.index.arrays["word_frames_start"]) > 0
        self.epochs = Epochs(self.index.arrays["frames"], epochs, croppable_N, (shortest, longest), neighbours(self.index))
        self.codes = open_codes(self.index, Blocks(self.index, epochs.block, self.settings.cache_bytes))

    @property
    def fingerprint(self) -> str:
        """A hash of all that gives a state its meaning: release, split, and the settings that decide the batches."""
        told = f"{self.index.stamp} {self.settings.epochs} {self.settings.crop_s}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def steps(self, state: int = 0) -> Iterator[Step]:
        """Steps from a state on, epoch after epoch, without end."""
        return self._run(self.epochs.walk(Place.of(state)))

    def epoch_steps(self, epoch: int = 0) -> Iterator[Step]:
        """The steps of one epoch."""
        count = sum(len(self.epochs.batches(epoch, window)) for window in range(self.epochs.windows))
        return self._run(islice(self.epochs.walk(Place(epoch, 0, 0)), count))

    def _run(self, places: Iterator[_Placed]) -> Iterator[Step]:
        placed = self._fetching(places, self.codes.blocks) if self.codes.blocks else places
        return ahead(self._step, placed, self.settings.threads, self.settings.ahead)

    def _fetching(self, places: Iterator[_Placed], blocks: Blocks) -> Iterator[_Placed]:
        """The same places, while the blocks of a window and of the next are on their way."""
        before: set[int] = set()
        known = None
        try:
            for place, samples in places:
                if (place.epoch, place.window) != known:
                    known = (place.epoch, place.window)
                    after = (place.epoch, place.window + 1) if place.window + 1 < self.epochs.windows else (place.epoch + 1, 0)
                    now, soon = (self.epochs.window_blocks(*window) for window in (known, after))
                    # ranks of one machine share what they fetch, so each begins elsewhere
                    for blocks_R in (now, soon):
                        blocks.want(np.roll(blocks_R, -len(blocks_R) * self.rank // self.world).tolist())
                    blocks.keep(before | set(now.tolist()) | set(soon.tolist()))
                    before = set(now.tolist())
                yield place, samples
        finally:
            blocks.cancel()

    def _step(self, item: _Placed) -> Step:
        place, samples = item
        parts = share(samples, self.epochs.lengths(place.epoch, samples), self.rank, self.world, self.settings.rank_frames)
        own = [part if len(part) else samples[-1:] for part in parts]
        drawn, prompts = np.concatenate(own), self.epochs.prompts(place.epoch, np.concatenate(own))
        utterances = iter(self._drawn(drawn, prompts, place.epoch))
        batches = [collate(list(islice(utterances, len(part)))) for part in own]
        if not all(are_codes(batch.codes_BKT.numpy()) for batch in batches):
            self.codes.refuse(np.concatenate([drawn, prompts[prompts >= 0]]))
        in_step = [replace(batch, is_dummy=len(part) == 0) for batch, part in zip(batches, parts, strict=True)]
        return in_step, int(Place(place.epoch, place.window, place.batch + 1))

    def read(self, samples: NDArray[np.int64]) -> list[TokenizedUtterance]:
        """Samples as whole utterances. Raises StorageError for bytes that are no array of codes."""
        keys = [key.tobytes().decode() for key in self.index.cut("keys", samples)]
        return list(map(TokenizedUtterance, keys, self.index.cut("phones", samples), self.codes.read(samples)))

    def _drawn(self, samples: NDArray[np.int64], prompts: NDArray[np.int64], epoch: int) -> list[TokenizedUtterance]:
        """Samples as an epoch has them: perhaps cropped, perhaps behind a prompt; -1 is none."""
        read = self.read(np.concatenate([samples, prompts[prompts >= 0]]))
        own, before = read[: len(samples)], iter(read[len(samples) :])
        lengths = self.epochs.own_lengths(epoch, samples).tolist()
        drawn = []
        for sample, prompt, length, utterance in zip(samples.tolist(), prompts.tolist(), lengths, own, strict=True):
            if length < utterance.codes_KT.shape[1]:
                words_W2 = self.index.flat("word_frames", sample).reshape(-1, 2)
                rng = np.random.default_rng((self.settings.epochs.seed, epoch, sample))
                utterance = crop(utterance, words_W2, self.separator, length, rng)
            drawn.append(utterance if prompt < 0 else behind(next(before), utterance, self.separator))
        return drawn


def neighbours(index: Index) -> NDArray[np.int8]:
    """For every sample [N]: -1 or 1 where the one before or after is of the same, known speaker and fit for a prompt; else 0."""
    speaker, frames = index.arrays["speaker"], index.arrays["frames"]
    nobody = index.speakers.index("") if "" in index.speakers else -1
    fit = (frames >= PROMPT_S[0] * FRAME_RATE) & (frames <= PROMPT_S[1] * FRAME_RATE) & (speaker != nobody)
    same = speaker[1:] == speaker[:-1]
    before = np.append(False, same & fit[:-1])
    after = np.append(same & fit[1:], False)
    return np.where(before, -1, after).astype(np.int8)


def behind(prompt: TokenizedUtterance, utterance: TokenizedUtterance, separator: int) -> TokenizedUtterance:
    """An utterance behind its prompt, as a model that speaks meets them: phones in a row, frames in a row."""
    between = np.array([separator] if separator >= 0 else [], np.int16)
    return utterance._replace(
        phones_L=np.concatenate([prompt.phones_L, between, utterance.phones_L]),
        codes_KT=np.concatenate([prompt.codes_KT, utterance.codes_KT], axis=1),
        prompt_frames=prompt.codes_KT.shape[1],
    )


def crop(
    whole: TokenizedUtterance, words_W2: NDArray[np.int32], separator: int, length: int, rng: np.random.Generator
) -> TokenizedUtterance:
    """Words in a row, of at most `length` frames together, with the phones and the frames that belong to them.

    The words must be as many as the groups of phones. Whole, when it is no longer than that.
    """
    phones_L = whole.phones_L
    if whole.codes_KT.shape[1] <= length:
        return whole
    groups = [group[group != separator] for group in np.split(phones_L, np.flatnonzero(phones_L == separator))]
    begins = np.flatnonzero(words_W2[:, 0] <= max(int(words_W2[0, 0]), int(words_W2[-1, 1]) - length))
    first = int(rng.choice(begins))
    start = int(words_W2[first, 0])
    last = max(first, int(np.searchsorted(words_W2[:, 1], start + length, side="right")) - 1)
    joined: list[NDArray[Any]] = []
    for group in groups[first : last + 1]:
        joined += [np.array([separator], np.int16), group] if joined else [group]
    return whole._replace(phones_L=np.concatenate(joined), codes_KT=whole.codes_KT[:, start : int(words_W2[last, 1])])


def ahead(function: Callable[[T_], R_], items: Iterable[T_], threads: int, depth: int) -> Iterator[R_]:
    """`function` of every item, in order, computed by threads up to `depth` items ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="stream") as pool:
        waiting: deque[Future[R_]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
