"""The batches of every epoch, as a pure function of sample lengths, seed and epoch.

An epoch permutes *blocks* of neighboring samples, so that reading stays local. It takes the blocks *window* by window, and forms
the global batches of a window from samples of similar length. A position is one integer, and a batch can be computed from its
position alone. Ranks and threads divide a global batch among them; their number does not change the batches.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


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
    """fraction of samples preceded by another utterance of their speaker, if a neighboring sample is one"""
    seed: int = 0


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


class BatchSampler:
    """The batches of every epoch over samples of `lengths_N` frames.

    Samples that are `croppable_N` and longer than the range `crop_frames` have another length in every epoch. `neighbor_N` is -1
    or 1 if the previous or the next sample may be the prompt, 0 if neither may. Raises ValueError without samples.
    """

    def __init__(
        self,
        lengths_N: NDArray[np.int32],
        config: SamplerConfig,
        croppable_N: NDArray[np.bool_] | None = None,
        crop_frames: tuple[int, int] = (0, 0),
        neighbor_N: NDArray[np.int8] | None = None,
    ) -> None:
        if not len(lengths_N):
            raise ValueError("no samples: is the split empty?")
        self.lengths_N, self.config, self.croppable_N, self.crop_frames = lengths_N, config, croppable_N, crop_frames
        self.neighbor_N = neighbor_N
        self.blocks = -(-len(lengths_N) // config.block_samples)
        self.windows = -(-self.blocks // config.window_blocks)

    def lengths(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Maximum frames of samples in an epoch, prompts included: a pure function of seed, epoch and sample."""
        prompts = self.prompts(epoch, samples)
        return self.lengths_without_prompt(epoch, samples) + np.where(prompts >= 0, self.lengths_N[prompts], 0).astype(np.int32)

    def lengths_without_prompt(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Maximum frames of samples in an epoch, without prompts."""
        lengths = self.lengths_N[samples]
        if self.croppable_N is None:
            return lengths
        shortest, longest = self.crop_frames
        drawn = shortest + _hash64(samples, self.config.seed, epoch) % np.uint64(longest - shortest + 1)
        return np.where(self.croppable_N[samples] & (lengths > longest), drawn, lengths).astype(np.int32)

    def prompts(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample that is the prompt of each sample in an epoch; -1 for none."""
        if self.neighbor_N is None or not self.config.prompt_fraction:
            return np.full(len(samples), -1)
        offset = self.neighbor_N[samples]
        drawn = _hash64(samples, self.config.seed, epoch, 1) < self.config.prompt_fraction * 2.0**64
        return np.where(drawn & (offset != 0), samples + offset, -1)

    def window_blocks(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The blocks of a window."""
        order = np.random.default_rng((self.config.seed, epoch)).permutation(self.blocks)
        return order[window * self.config.window_blocks : (window + 1) * self.config.window_blocks]

    def batches(self, epoch: int, window: int) -> list[NDArray[np.int64]]:
        """The global batches of a window: samples, longest first."""
        config = self.config
        starts = self.window_blocks(epoch, window)[:, None] * config.block_samples + np.arange(config.block_samples)
        samples = starts[starts < len(self.lengths_N)]
        rng = np.random.default_rng((config.seed, epoch, window))
        samples = rng.permutation(samples)  # random order among samples of equal length
        lengths = self.lengths(epoch, samples)
        by_length = np.argsort(-lengths.astype(np.int64), kind="stable")
        samples, lengths = samples[by_length], lengths[by_length]
        edges, start = [0], 0
        while start < len(samples):
            start += max(1, config.batch_frames // max(1, int(lengths[start])))
            edges.append(min(start, len(samples)))
        batches = [samples[a:b].astype(np.int64) for a, b in pairwise(edges)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def iter_from(self, position: LoaderPosition) -> Iterator[tuple[LoaderPosition, NDArray[np.int64]]]:
        """Global batches from a position on, epoch after epoch, endlessly."""
        epoch, window, first = position.epoch, position.window, position.batch
        while True:
            for number, samples in enumerate(self.batches(epoch, window)):
                if number >= first:
                    yield LoaderPosition(epoch, window, number), samples
            first, window = 0, window + 1
            if window == self.windows:
                epoch, window = epoch + 1, 0


def _hash64(samples: NDArray[np.int64], *seeds: int) -> NDArray[np.uint64]:
    """A random number per sample (splitmix64, Steele et al. 2014), without creating a generator per sample."""
    with np.errstate(over="ignore"):
        start = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
        x = samples.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def rank_microbatches(
    samples: NDArray[np.int64], lengths: NDArray[np.int32], rank: int, world: int, max_frames: int
) -> list[NDArray[np.int64]]:
    """One rank's share of a global batch, as micro-batches of at most `max_frames` with padding (more only for a single sample).

    `samples` and their `lengths` are sorted, longest first. Every rank computes the same number of micro-batches without
    communication; some are empty if there are fewer samples than ranks.
    """
    parts = max(_n_parts(lengths[r::world], max_frames) for r in range(world))
    own = samples[rank::world]
    return [own[a:b] for a, b in _split_points(len(own), parts)]


def _n_parts(lengths: NDArray[np.int32], max_frames: int) -> int:
    """The smallest number of even parts of samples, longest first, in which each part is within the limit."""
    parts = 1
    while any((b - a) > 1 and (b - a) * int(lengths[a]) > max_frames for a, b in _split_points(len(lengths), parts)):
        parts += 1
    return parts


def _split_points(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))
