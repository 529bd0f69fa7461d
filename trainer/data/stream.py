"""Batches of a corpus in a folder or a bucket, in an order that depends on neither the number of ranks nor of threads.

What comes next is a pure function of the manifest, the configuration and one integer (`voxbeam.trainer.data.sampler`), so any
number of ranks and threads can resume a run at any step. Loading uses threads rather than worker processes: loading waits for
storage and copies bytes, both of which release Python's global lock, and a batch needs no copy between processes.

Shards in a folder are read where a sample is (`code_reader.py`). Those of a bucket are fetched in blocks, a window ahead of
reading, into a cache on local disk (`block_cache.py`). Memory is bounded as well: a step has at most `batch_frames` frames.

Shapes: K codebooks, T frames, L phones, W words.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.batch import Batch, TokenizedUtterance, collate
from voxbeam.safety.tombstones import Tombstones
from voxbeam.schemas.formats import FRAME_RATE
from voxbeam.trainer.data.block_cache import BlockCache
from voxbeam.trainer.data.code_reader import in_codebook_range, open_code_reader
from voxbeam.trainer.data.index import Index, open_index, word_separator_id
from voxbeam.trainer.data.sampler import (
    BatchSampler,
    LoaderPosition,
    PlannedBatch,
    PromptSource,
    SamplerConfig,
    hash64,
    rank_microbatches,
)

PROMPT_S = (3.0, 10.0)
"""shortest and longest acoustic prompt, as a part of another sample"""
T_ = TypeVar("T_")
R_ = TypeVar("R_")


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a corpus is read."""

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    data_filter: str = ""
    """SQL condition on columns of `samples`: others are left out"""
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
_Planned = tuple[LoaderPosition, PlannedBatch]


class Stream:
    """The steps of one rank of `world`, over a split of a release (by default the latest), with the codes of its first codec or
    of the further one that `codec` names. `feeds` are the tombstones to ask, if they were read already.

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
        codec: str | None = None,
        feeds: Mapping[str, Tombstones] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.config, self.codec = config or StreamConfig(), codec
        self.index = open_index(uri, split, release, self.config.data_filter, codec, feeds)
        self.rank, self.world = rank, world
        self.separator = word_separator_id(self.index.phones)
        self.sampler = make_sampler(self.index, self.config.sampler, self.config.crop_s)
        blocks = BlockCache(self.index, self.config.sampler.block_samples, self.config.cache_bytes)
        self.reader = open_code_reader(self.index, blocks)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that a loader state refers to: the samples of the split, and the settings that determine the batches."""
        settings = {**asdict(self.config.sampler), "crop_s": list(self.config.crop_s)}
        chosen = {"filter": self.config.data_filter} if self.config.data_filter else {}
        chosen |= {"codec": self.codec} if self.codec is not None else {}
        return {
            "release": self.index.release,
            "split": self.index.split,
            "samples": self.index.content_hash,
            **settings,
            **chosen,
        }

    @property
    def prompt_share(self) -> float:
        """The fraction of utterances that begin with a prompt; less than `prompt_fraction` where people have little speech."""
        return self.sampler.prompt_share()

    def steps(self, state: int = 0) -> Iterator[Step]:
        """Steps from a loader state on, epoch after epoch, endlessly."""
        return self._run(self.sampler.iter_from(LoaderPosition.from_state(state)))

    def epoch_steps(self, epoch: int = 0) -> Iterator[Step]:
        """The steps of one epoch."""
        count = sum(len(self.sampler.batches(epoch, window)) for window in range(self.sampler.windows))
        return self._run(islice(self.sampler.iter_from(LoaderPosition(epoch, 0, 0)), count))

    def _run(self, planned: Iterator[_Planned]) -> Iterator[Step]:
        planned = self._with_prefetch(planned, self.reader.blocks) if self.reader.blocks else planned
        return prefetch_map(self._step, planned, self.config.threads, self.config.prefetch_steps)

    def _with_prefetch(self, planned: Iterator[_Planned], blocks: BlockCache) -> Iterator[_Planned]:
        """The same batches, while the blocks of their window and of the next one are being fetched."""
        previous: set[int] = set()
        fetched = None
        try:
            for position, batch in planned:
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
                yield position, batch
        finally:
            blocks.cancel()

    def _step(self, planned: _Planned) -> Step:
        position, batch = planned
        parts = rank_microbatches(batch, self.rank, self.world, self.config.rank_frames)
        stand_in = batch.take(slice(-1, None))  # of an empty part, which becomes a dummy batch
        read = [part if len(part.samples) else stand_in for part in parts]
        utterances = [self._draw(part, position.epoch) for part in read]
        batches = [collate(rows) for rows in utterances]
        if not all(in_codebook_range(one.codes_BKT.numpy()) for one in batches):
            self.reader.validate(np.concatenate([ids[ids >= 0] for part in read for ids in (part.samples, part.prompts)]))
        marked = [replace(one, is_dummy=len(part.samples) == 0) for one, part in zip(batches, parts, strict=True)]
        return marked, int(LoaderPosition(position.epoch, position.window, position.batch + 1))

    def read(self, samples: NDArray[np.int64]) -> list[TokenizedUtterance]:
        """Samples as whole utterances. Raises StorageError for bytes that are not an array of codes."""
        keys = [key.tobytes().decode() for key in self.index.ragged_many("keys", samples)]
        return list(map(TokenizedUtterance, keys, self.index.ragged_many("phones", samples), self.reader.read(samples)))

    def _draw(self, batch: PlannedBatch, epoch: int) -> list[TokenizedUtterance]:
        """Samples as they occur in an epoch: cropped, and with prompts prepended, where the plan says so."""
        with_prompt = batch.prompts >= 0
        prompts = batch.prompts[with_prompt]
        read = iter(self.read(np.concatenate([batch.samples, prompts])))
        own = [self._crop(*one, epoch) for one in zip(batch.samples.tolist(), read, batch.own_frames.tolist(), strict=False)]
        windows = zip(prompts.tolist(), read, batch.prompt_frames[with_prompt].tolist(), strict=True)
        before = (self._crop(*one, epoch) for one in windows)
        return [
            prepend_prompt(next(before), utterance, self.separator) if prompted else utterance
            for utterance, prompted in zip(own, with_prompt.tolist(), strict=True)
        ]

    def _crop(self, sample: int, utterance: TokenizedUtterance, length: int, epoch: int) -> TokenizedUtterance:
        if length >= utterance.codes_KT.shape[1]:
            return utterance
        words_W2 = self.index.ragged("word_frames", sample).reshape(-1, 2)
        draw = int(hash64(np.array([sample]), self.config.sampler.seed, epoch, length)[0])
        return crop(utterance, words_W2, self.separator, length, draw)


def make_sampler(index: Index, config: SamplerConfig, crop_s: tuple[float, float]) -> BatchSampler:
    """The batches of every epoch over an index."""
    return BatchSampler(
        index.arrays["frames"],
        config,
        croppable_N=np.diff(index.arrays["word_frames_start"]) > 0,
        crop_frames=_frames(crop_s),
        prompts=prompt_source(index, round(crop_s[1] * FRAME_RATE)),
    )


def prompt_source(index: Index, longest_whole: int) -> PromptSource:
    """Which samples of an index may be prompts: those of a known person that last long enough.

    A sample with word times gives a part of `PROMPT_S`; one without is taken whole, up to `longest_whole` frames.
    """
    identity, frames = index.arrays["identity"], index.arrays["frames"]
    unknown = index.identities.index("") if "" in index.identities else -1
    window = _frames(PROMPT_S)
    has_words = np.diff(index.arrays["word_frames_start"]) > 0
    usable = (frames >= window[0]) & (has_words | (frames <= longest_whole)) & (identity != unknown)
    return PromptSource(identity_N=np.where(identity == unknown, -1, identity), usable_N=usable, window_frames=window)


def _frames(span_s: tuple[float, float]) -> tuple[int, int]:
    return round(span_s[0] * FRAME_RATE), round(span_s[1] * FRAME_RATE)


def prepend_prompt(prompt: TokenizedUtterance, utterance: TokenizedUtterance, separator: int) -> TokenizedUtterance:
    """An utterance preceded by an acoustic prompt, as in synthesis: phones concatenated, frames concatenated."""
    between = np.array([separator] if separator >= 0 else [], np.int16)
    return utterance._replace(
        phones_L=np.concatenate([prompt.phones_L, between, utterance.phones_L]),
        codes_KT=np.concatenate([prompt.codes_KT, utterance.codes_KT], axis=1),
        prompt_frames=prompt.codes_KT.shape[1],
    )


def crop(
    utterance: TokenizedUtterance, words_W2: NDArray[np.int32], separator: int, length: int, draw: int
) -> TokenizedUtterance:
    """Consecutive words, at most `length` frames in all, with their phones and frames; an utterance not longer is unchanged.

    `words_W2` has the first and last frame of every word: as many words as there are groups of phones. `draw` is a random number.
    """
    phones_L = utterance.phones_L
    if utterance.codes_KT.shape[1] <= length:
        return utterance
    groups = [group[group != separator] for group in np.split(phones_L, np.flatnonzero(phones_L == separator))]
    candidates = np.flatnonzero(words_W2[:, 0] <= max(int(words_W2[0, 0]), int(words_W2[-1, 1]) - length))
    first = int(candidates[draw % len(candidates)])
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
