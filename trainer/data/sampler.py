"""The batches of every epoch, as a pure function of sample lengths, seed and epoch.

An epoch permutes *blocks* of neighboring samples, so that reading stays local. It takes the blocks *window* by window, and forms
the global batches of a window from samples of similar length. A position is one integer, and a batch can be computed from its
position alone. Ranks and threads divide a global batch among them; their number does not change the batches.

A prompt is drawn from the window of its sample, from what stands near it in storage: the same recording, if that has more of the
voice, else the same person elsewhere.

Shapes: N samples of the corpus, M samples of a window or of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PROMPT_REACH = 8
"""a prompt is one of so many samples of the same person before or after, in the order of storage"""


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """What determines the batches, besides the samples."""

    batch_frames: int = 24_000
    """maximum frames of a global batch, padding included; a longer sample is a batch by itself"""
    block_samples: int = 256
    """consecutive samples of a block"""
    window_blocks: int = 32
    """blocks whose samples are mixed"""
    prompt_fraction: float = 0.0
    """fraction of samples preceded by speech of the same person, as far as their window has some (`prompt_share`)"""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """Which samples may be prompts. Arrays [N]."""

    identity_N: NDArray[np.int32]
    """the person of each sample; −1 for one that nobody knows"""
    usable_N: NDArray[np.bool_]
    """long enough, and short enough or with word times to take a part of"""
    window_frames: tuple[int, int]
    """shortest and longest part of a sample with word times; another sample is taken whole"""


@dataclass(frozen=True, order=True)
class LoaderPosition:
    """Position of a global batch: its epoch, its window, its number in the window. `int(position)` is the loader state."""

    epoch: int
    window: int
    batch: int

    def __int__(self) -> int:
        return (self.epoch << 48) | (self.window << 24) | self.batch

    @classmethod
    def from_state(cls, state: int) -> LoaderPosition:
        return cls(state >> 48, (state >> 24) & 0xFFFFFF, state & 0xFFFFFF)


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """A global batch. Arrays [M], longest first."""

    samples: NDArray[np.int64]
    own_frames: NDArray[np.int32]
    """maximum frames of each sample without its prompt"""
    prompts: NDArray[np.int64]
    """the sample that each prompt is taken from; −1 for none"""
    prompt_frames: NDArray[np.int32]
    """maximum frames of each prompt; 0 without one"""

    @property
    def frames(self) -> NDArray[np.int32]:
        return self.own_frames + self.prompt_frames

    def take(self, rows: NDArray[np.int64] | slice) -> PlannedBatch:
        """Some of the samples."""
        return PlannedBatch(**{name: values[rows] for name, values in vars(self).items()})


class BatchSampler:
    """The batches of every epoch over samples of `lengths_N` frames.

    Samples that are `croppable_N` and longer than the range `crop_frames` have another length in every epoch. Raises ValueError
    without samples.
    """

    def __init__(
        self,
        lengths_N: NDArray[np.int32],
        config: SamplerConfig,
        croppable_N: NDArray[np.bool_] | None = None,
        crop_frames: tuple[int, int] = (0, 0),
        prompts: PromptSource | None = None,
    ) -> None:
        if not len(lengths_N):
            raise ValueError("no samples: is the split empty?")
        self.lengths_N, self.config, self.crop_frames = lengths_N, config, crop_frames
        self.croppable_N = np.zeros(len(lengths_N), bool) if croppable_N is None else croppable_N
        self.prompt_source = prompts if config.prompt_fraction else None
        self.blocks = -(-len(lengths_N) // config.block_samples)
        self.windows = -(-self.blocks // config.window_blocks)
        self._batches = lru_cache(2)(self._plan_window)  # the one that is read, and the next

    def own_frames(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Maximum frames of samples in an epoch, without prompts: a pure function of seed, epoch and sample."""
        return self._cropped(samples, self.crop_frames, epoch, 0)

    def _cropped(self, samples: NDArray[np.int64], span: tuple[int, int], epoch: int, purpose: int) -> NDArray[np.int32]:
        """Lengths drawn from a range, of those samples that are longer and can be cut."""
        lengths, (shortest, longest) = self.lengths_N[samples], span
        drawn = shortest + hash64(samples, self.config.seed, epoch, purpose) % np.uint64(longest - shortest + 1)
        return np.where(self.croppable_N[samples] & (lengths > longest), drawn, lengths).astype(np.int32)

    def _draw_prompts(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each sample of a window the one that its prompt is taken from, among these samples; −1 for none."""
        source = self.prompt_source
        if source is None:
            return np.full(len(samples), -1)
        order = np.lexsort((samples, source.identity_N[samples]))
        sorted_M = samples[order]
        identity_M, usable_M = source.identity_N[sorted_M], source.usable_N[sorted_M]
        donors = sorted_M[usable_M]
        before_M: NDArray[np.int64] = np.cumsum(usable_M) - usable_M  # donors before each sample
        first_M = np.searchsorted(identity_M, identity_M, "left")
        last_M = np.searchsorted(identity_M, identity_M, "right")
        ends = np.append(before_M, len(donors))
        low = np.maximum(ends[first_M], before_M - PROMPT_REACH)
        high = np.minimum(ends[last_M], before_M + usable_M + PROMPT_REACH)
        others = high - low - usable_M
        chance = hash64(sorted_M, self.config.seed, epoch, 1) < self.config.prompt_fraction * 2.0**64
        chosen = low + (hash64(sorted_M, self.config.seed, epoch, 2) % np.maximum(others, 1).astype(np.uint64)).astype(np.int64)
        chosen += usable_M & (chosen >= before_M)  # never itself
        found = (others > 0) & (identity_M >= 0) & chance
        prompts = np.full(len(samples), -1)
        prompts[order[found]] = donors[chosen[found]]
        return prompts

    def prompt_share(self, windows: int = 4) -> float:
        """The fraction of samples with a prompt, in the first windows of the first epoch."""
        batches = [batch for window in range(min(windows, self.windows)) for batch in self.batches(0, window)]
        return float(np.mean(np.concatenate([batch.prompts for batch in batches]) >= 0))

    def window_blocks(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The blocks of a window."""
        order = np.random.default_rng((self.config.seed, epoch)).permutation(self.blocks)
        return order[window * self.config.window_blocks : (window + 1) * self.config.window_blocks]

    def batches(self, epoch: int, window: int) -> list[PlannedBatch]:
        """The global batches of a window."""
        return self._batches(epoch, window)

    def _plan_window(self, epoch: int, window: int) -> list[PlannedBatch]:
        config, source = self.config, self.prompt_source
        starts = self.window_blocks(epoch, window)[:, None] * config.block_samples + np.arange(config.block_samples)
        rng = np.random.default_rng((config.seed, epoch, window))
        samples = rng.permutation(starts[starts < len(self.lengths_N)])  # random order among samples of equal length
        prompts = self._draw_prompts(epoch, samples)
        prompt_frames = np.zeros(len(samples), np.int32)
        if source is not None:
            prompt_frames = np.where(prompts >= 0, self._cropped(prompts, source.window_frames, epoch, 3), 0).astype(np.int32)
        own_frames = self.own_frames(epoch, samples)
        whole = PlannedBatch(samples=samples, own_frames=own_frames, prompts=prompts, prompt_frames=prompt_frames)
        whole = whole.take(np.argsort(-whole.frames.astype(np.int64), kind="stable"))
        lengths = whole.frames
        edges, start = [0], 0
        while start < len(samples):
            start += max(1, config.batch_frames // max(1, int(lengths[start])))
            edges.append(min(start, len(samples)))
        batches = [whole.take(slice(a, b)) for a, b in pairwise(edges)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def iter_from(self, position: LoaderPosition) -> Iterator[tuple[LoaderPosition, PlannedBatch]]:
        """Global batches from a position on, epoch after epoch, endlessly."""
        epoch, window, first = position.epoch, position.window, position.batch
        while True:
            for number, batch in enumerate(self.batches(epoch, window)):
                if number >= first:
                    yield LoaderPosition(epoch, window, number), batch
            first, window = 0, window + 1
            if window == self.windows:
                epoch, window = epoch + 1, 0


def hash64(samples: NDArray[np.int64], *seeds: int) -> NDArray[np.uint64]:
    """A random number per sample (splitmix64, Steele et al. 2014), without creating a generator per sample."""
    with np.errstate(over="ignore"):
        start = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
        x = samples.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def rank_microbatches(batch: PlannedBatch, rank: int, world: int, max_frames: int) -> list[PlannedBatch]:
    """One rank's share of a global batch, as micro-batches of at most `max_frames` with padding (more only for a single sample).

    Every rank computes the same number of micro-batches without communication; some are empty if there are fewer samples than
    ranks.
    """
    parts = max(_n_parts(batch.frames[r::world], max_frames) for r in range(world))
    own = batch.take(slice(rank, None, world))
    return [own.take(slice(a, b)) for a, b in _split_points(len(own.samples), parts)]


def _n_parts(lengths: NDArray[np.int32], max_frames: int) -> int:
    """The smallest number of even parts of samples, longest first, in which each part is within the limit."""
    parts = 1
    while any((b - a) > 1 and (b - a) * int(lengths[a]) > max_frames for a, b in _split_points(len(lengths), parts)):
        parts += 1
    return parts


def _split_points(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))
