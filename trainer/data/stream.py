"""Batches of a corpus in a folder or a bucket, in an order that depends on neither the number of ranks nor of threads.

What comes next is a pure function of the manifest, the configuration and one integer (`voxbeam.trainer.data.sampler`), so any
number of ranks and threads can resume a run at any step. Loading uses threads rather than worker processes: loading waits for
storage and copies bytes, both of which release Python's global lock, and a batch needs no copy between processes.

Shards in a folder are read where a sample is (`code_reader.py`). Those of a bucket are fetched in blocks, a window ahead of
reading, into a cache on local disk (`block_cache.py`). Memory is bounded as well: a step has at most `batch_frames` frames.

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
from voxbeam.trainer.data.block_cache import BlockCache
from voxbeam.trainer.data.code_reader import in_codebook_range, open_code_reader
from voxbeam.trainer.data.index import Index, open_index, word_separator_id
from voxbeam.trainer.data.sampler import BatchSampler, LoaderPosition, SamplerConfig, rank_microbatches

PROMPT_S = (3.0, 10.0)
"""shortest and longest utterance that may be an acoustic prompt"""
T_ = TypeVar("T_")
R_ = TypeVar("R_")


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a corpus is read."""

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    rank_frames: int = 12_000
    """maximum frames of a micro-batch, padding included; it must fit one device"""
    crop_s: tuple[float, float] = (10.0, 20.0)
    """longer samples are cropped between words, to a length drawn from this range; samples without word times stay whole"""
    threads: int = 1
    """threads that make steps; more than one helps only if the disk is slow, since they share Python's global lock"""
    prefetch_steps: int = 4
    """steps to read ahead"""
    cache_bytes: int = 32 << 30
    """size of the local cache for a corpus in a bucket; at least two windows are cached in any case"""


Step = tuple[list[Batch], int]
"""one rank's micro-batches of a step, the same number on every rank; and the loader state of the next step"""
_PlannedBatch = tuple[LoaderPosition, NDArray[np.int64]]


class Stream:
    """The steps of one rank of `world`, over a split of a release (by default the latest).

    Raises StorageError if there is no corpus, ValueError for an empty split.

    Example::

        stream = Stream("corpus", split="train")
        for batches, loader_state in stream.steps():
            ...
    """

    def __init__(
        self,
        uri: str,
        *,
        split: str = "train",
        release: int | None = None,
        config: StreamConfig | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.config = config or StreamConfig()
        self.index = open_index(uri, split, release)
        self.rank, self.world = rank, world
        self.separator = word_separator_id(self.index.phones)
        self.sampler = BatchSampler(
            self.index.arrays["frames"],
            self.config.sampler,
            croppable_N=np.diff(self.index.arrays["word_frames_start"]) > 0,
            crop_frames=tuple(round(edge * FRAME_RATE) for edge in self.config.crop_s),  # type: ignore[arg-type]
            neighbor_N=prompt_neighbors(self.index),
        )
        blocks = BlockCache(self.index, self.config.sampler.block_samples, self.config.cache_bytes)
        self.reader = open_code_reader(self.index, blocks)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that a loader state refers to: release, split, and the settings that determine the batches."""
        meaning = f"{self.index.content_hash} {self.config.sampler} {self.config.crop_s}"
        return hashlib.sha256(meaning.encode()).hexdigest()[:16]

    def steps(self, state: int = 0) -> Iterator[Step]:
        """Steps from a loader state on, epoch after epoch, endlessly."""
        return self._run(self.sampler.iter_from(LoaderPosition.from_state(state)))

    def epoch_steps(self, epoch: int = 0) -> Iterator[Step]:
        """The steps of one epoch."""
        count = sum(len(self.sampler.batches(epoch, window)) for window in range(self.sampler.windows))
        return self._run(islice(self.sampler.iter_from(LoaderPosition(epoch, 0, 0)), count))

    def _run(self, planned: Iterator[_PlannedBatch]) -> Iterator[Step]:
        planned = self._with_prefetch(planned, self.reader.blocks) if self.reader.blocks else planned
        return prefetch_map(self._step, planned, self.config.threads, self.config.prefetch_steps)

    def _with_prefetch(self, planned: Iterator[_PlannedBatch], blocks: BlockCache) -> Iterator[_PlannedBatch]:
        """The same batches, while the blocks of their window and of the next one are being fetched."""
        previous: set[int] = set()
        fetched = None
        try:
            for position, samples in planned:
                window = (position.epoch, position.window)
                if window != fetched:
                    fetched = window
                    last = position.window + 1 == self.sampler.windows
                    following = (position.epoch + 1, 0) if last else (position.epoch, position.window + 1)
                    current, upcoming = (self.sampler.window_blocks(*one) for one in (window, following))
                    # ranks of one machine share the cache, so each starts fetching at another block
                    for blocks_R in (current, upcoming):
                        blocks.prefetch(np.roll(blocks_R, -len(blocks_R) * self.rank // self.world).tolist())
                    blocks.evict_except(previous | set(current.tolist()) | set(upcoming.tolist()))
                    previous = set(current.tolist())
                yield position, samples
        finally:
            blocks.cancel()

    def _step(self, planned: _PlannedBatch) -> Step:
        position, samples = planned
        lengths = self.sampler.lengths(position.epoch, samples)
        parts = rank_microbatches(samples, lengths, self.rank, self.world, self.config.rank_frames)
        read = [part if len(part) else samples[-1:] for part in parts]  # an empty part becomes a dummy batch
        drawn, prompts = np.concatenate(read), self.sampler.prompts(position.epoch, np.concatenate(read))
        utterances = iter(self._draw(drawn, prompts, position.epoch))
        batches = [collate(list(islice(utterances, len(part)))) for part in read]
        if not all(in_codebook_range(batch.codes_BKT.numpy()) for batch in batches):
            self.reader.validate(np.concatenate([drawn, prompts[prompts >= 0]]))
        marked = [replace(batch, is_dummy=len(part) == 0) for batch, part in zip(batches, parts, strict=True)]
        return marked, int(LoaderPosition(position.epoch, position.window, position.batch + 1))

    def read(self, samples: NDArray[np.int64]) -> list[TokenizedUtterance]:
        """Samples as whole utterances. Raises StorageError for bytes that are not an array of codes."""
        keys = [key.tobytes().decode() for key in self.index.ragged_many("keys", samples)]
        return list(map(TokenizedUtterance, keys, self.index.ragged_many("phones", samples), self.reader.read(samples)))

    def _draw(self, samples: NDArray[np.int64], prompts: NDArray[np.int64], epoch: int) -> list[TokenizedUtterance]:
        """Samples as they occur in an epoch: cropped, and with prompts prepended, where the epoch says so; prompt -1 is none."""
        read = self.read(np.concatenate([samples, prompts[prompts >= 0]]))
        own, prompt_utterances = read[: len(samples)], iter(read[len(samples) :])
        lengths = self.sampler.lengths_without_prompt(epoch, samples).tolist()
        drawn = []
        for sample, prompt, length, utterance in zip(samples.tolist(), prompts.tolist(), lengths, own, strict=True):
            if length < utterance.codes_KT.shape[1]:
                words_W2 = self.index.ragged("word_frames", sample).reshape(-1, 2)
                rng = np.random.default_rng((self.config.sampler.seed, epoch, sample))
                utterance = crop(utterance, words_W2, self.separator, length, rng)
            drawn.append(utterance if prompt < 0 else prepend_prompt(next(prompt_utterances), utterance, self.separator))
        return drawn


def prompt_neighbors(index: Index) -> NDArray[np.int8]:
    """Offset [N] of the neighboring sample that may be the prompt of each sample: -1, 1, or 0 for none.

    A prompt is by the same, known speaker and as long as `PROMPT_S` allows.
    """
    speaker, frames = index.arrays["speaker"], index.arrays["frames"]
    unknown = index.speakers.index("") if "" in index.speakers else -1
    suitable = (frames >= PROMPT_S[0] * FRAME_RATE) & (frames <= PROMPT_S[1] * FRAME_RATE) & (speaker != unknown)
    same = speaker[1:] == speaker[:-1]
    before = np.append(False, same & suitable[:-1])
    after = np.append(same & suitable[1:], False)
    return np.where(before, -1, after).astype(np.int8)


def prepend_prompt(prompt: TokenizedUtterance, utterance: TokenizedUtterance, separator: int) -> TokenizedUtterance:
    """An utterance preceded by an acoustic prompt, as in synthesis: phones concatenated, frames concatenated."""
    between = np.array([separator] if separator >= 0 else [], np.int16)
    return utterance._replace(
        phones_L=np.concatenate([prompt.phones_L, between, utterance.phones_L]),
        codes_KT=np.concatenate([prompt.codes_KT, utterance.codes_KT], axis=1),
        prompt_frames=prompt.codes_KT.shape[1],
    )


def crop(
    utterance: TokenizedUtterance, words_W2: NDArray[np.int32], separator: int, length: int, rng: np.random.Generator
) -> TokenizedUtterance:
    """Consecutive words, at most `length` frames in all, with their phones and frames; an utterance not longer is unchanged.

    `words_W2` has the first and last frame of every word: as many words as there are groups of phones.
    """
    phones_L = utterance.phones_L
    if utterance.codes_KT.shape[1] <= length:
        return utterance
    groups = [group[group != separator] for group in np.split(phones_L, np.flatnonzero(phones_L == separator))]
    candidates = np.flatnonzero(words_W2[:, 0] <= max(int(words_W2[0, 0]), int(words_W2[-1, 1]) - length))
    first = int(rng.choice(candidates))
    start = int(words_W2[first, 0])
    last = max(first, int(np.searchsorted(words_W2[:, 1], start + length, side="right")) - 1)
    joined: list[NDArray[Any]] = []
    for group in groups[first : last + 1]:
        joined += [np.array([separator], np.int16), group] if joined else [group]
    return utterance._replace(phones_L=np.concatenate(joined), codes_KT=utterance.codes_KT[:, start : int(words_W2[last, 1])])


def prefetch_map(function: Callable[[T_], R_], items: Iterable[T_], threads: int, depth: int) -> Iterator[R_]:
    """Like `map`, in order, but computed by threads up to `depth` items ahead of the consumer."""
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
