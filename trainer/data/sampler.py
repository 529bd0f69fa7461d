"""Epoch: which samples make up which batch, as a pure function of lengths, seed and epoch.

Samples are dealt in *blocks* of neighbours, so that what is read stays near. An epoch permutes the blocks, takes them
*window* by window, and forms a window's global batches of samples of like length. A place in all this is one integer, and a
batch can be computed from its place without computing those before it. Ranks and threads share out a global batch; which
batches there are does not depend on how many of them there are.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class EpochSettings:
    """What, besides the samples, decides the batches."""

    batch_frames: int = 24_000
    """frames of a global batch at most, padding included; a longer sample makes a batch of its own"""
    block: int = 256
    """samples in a row"""
    window_blocks: int = 32
    """blocks whose samples are mixed"""
    prompt_fraction: float = 0.0
    """share of samples that stand behind another utterance of their speaker, where a neighbour is one"""
    seed: int = 0


@dataclass(frozen=True, order=True)
class Place:
    """A global batch: its epoch, its window, its number in the window."""

    epoch: int
    window: int
    batch: int

    def __int__(self) -> int:
        return (self.epoch << 48) | (self.window << 24) | self.batch

    @classmethod
    def of(cls, state: int) -> Place:
        return cls(state >> 48, (state >> 24) & 0xFFFFFF, state & 0xFFFFFF)


class Epochs:
    """The batches of every epoch over samples of these lengths [N], in frames.

    Samples that are `croppable` [N], and longer than the end of the range `crop`, have another length in every epoch.
    `neighbour` [N] is -1, 1 or 0: whether the sample before or after may be the prompt, or none.
    """

    def __init__(
        self,
        lengths_N: NDArray[np.int32],
        settings: EpochSettings,
        croppable_N: NDArray[np.bool_] | None = None,
        crop: tuple[int, int] = (0, 0),
        neighbour_N: NDArray[np.int8] | None = None,
    ) -> None:
        if not len(lengths_N):
            raise ValueError("no samples: is the split empty?")
        self.lengths_N, self.settings, self.croppable_N, self.crop = lengths_N, settings, croppable_N, crop
        self.neighbour_N = neighbour_N
        self.blocks = -(-len(lengths_N) // settings.block)
        self.windows = -(-self.blocks // settings.window_blocks)

    def lengths(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """Frames that samples have in an epoch, prompts included, at most; a pure function of seed, epoch and sample."""
        prompts = self.prompts(epoch, samples)
        return self.own_lengths(epoch, samples) + np.where(prompts >= 0, self.lengths_N[prompts], 0).astype(np.int32)

    def own_lengths(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int32]:
        """The same without prompts."""
        lengths = self.lengths_N[samples]
        if self.croppable_N is None:
            return lengths
        shortest, longest = self.crop
        drawn = shortest + _scramble(samples, self.settings.seed, epoch) % np.uint64(longest - shortest + 1)
        return np.where(self.croppable_N[samples] & (lengths > longest), drawn, lengths).astype(np.int32)

    def prompts(self, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample that each stands behind in an epoch; -1 for none."""
        if self.neighbour_N is None or not self.settings.prompt_fraction:
            return np.full(len(samples), -1)
        step = self.neighbour_N[samples]
        drawn = _scramble(samples, self.settings.seed, epoch, 1) < self.settings.prompt_fraction * 2.0**64
        return np.where(drawn & (step != 0), samples + step, -1)

    def window_blocks(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The blocks of a window."""
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(self.blocks)
        return order[window * self.settings.window_blocks : (window + 1) * self.settings.window_blocks]

    def batches(self, epoch: int, window: int) -> list[NDArray[np.int64]]:
        """The global batches of a window: samples, longest first."""
        settings = self.settings
        starts = self.window_blocks(epoch, window)[:, None] * settings.block + np.arange(settings.block)
        samples = starts[starts < len(self.lengths_N)]
        rng = np.random.default_rng((settings.seed, epoch, window))
        samples = rng.permutation(samples)  # equal lengths then stand in random order
        lengths = self.lengths(epoch, samples)
        by_length = np.argsort(-lengths.astype(np.int64), kind="stable")
        samples, lengths = samples[by_length], lengths[by_length]
        cuts, start = [0], 0
        while start < len(samples):
            start += max(1, settings.batch_frames // max(1, int(lengths[start])))
            cuts.append(min(start, len(samples)))
        batches = [samples[a:b].astype(np.int64) for a, b in pairwise(cuts)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def walk(self, place: Place) -> Iterator[tuple[Place, NDArray[np.int64]]]:
        """Global batches from a place on, epoch after epoch, for ever."""
        epoch, window, first = place.epoch, place.window, place.batch
        while True:
            for number, samples in enumerate(self.batches(epoch, window)):
                if number >= first:
                    yield Place(epoch, window, number), samples
            first, window = 0, window + 1
            if window == self.windows:
                epoch, window = epoch + 1, 0


def _scramble(samples: NDArray[np.int64], *seeds: int) -> NDArray[np.uint64]:
    """A random number for each sample (splitmix64, Steele et al. 2014), without a generator for each."""
    with np.errstate(over="ignore"):
        start = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
        x = samples.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + start
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def share(
    samples: NDArray[np.int64], lengths: NDArray[np.int32], rank: int, world: int, most_frames: int
) -> list[NDArray[np.int64]]:
    """A rank's part of a global batch, as micro-batches of at most `most_frames` with padding (more only for a single sample).

    Every rank gets as many micro-batches as every other, known without asking them; some may be empty when there are fewer
    samples than ranks. `samples` come longest first, `lengths` are theirs.
    """
    parts = max(_parts(lengths[r::world], most_frames) for r in range(world))
    own = samples[rank::world]
    return [own[a:b] for a, b in _cuts(len(own), parts)]


def _parts(lengths: NDArray[np.int32], most_frames: int) -> int:
    """How many even pieces of samples, longest first, keep each piece within the limit."""
    parts = 1
    while any((b - a) > 1 and (b - a) * int(lengths[a]) > most_frames for a, b in _cuts(len(lengths), parts)):
        parts += 1
    return parts


def _cuts(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))
