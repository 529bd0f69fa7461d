"""Groups of voices that are joined step by step, the most similar first: average linkage with constraints, all pairs at once.

The similarity of two groups is the mean cosine similarity of their voices, each weighted by its speech, so a chain of similar
voices does not join its ends. In every round all pairs that are each other's most similar are joined; with average linkage that
gives the groups that joining one pair after the other would. Ties go to the group that comes first.

Shapes: N voices, G groups (the number of a group is that of its first voice), D embedding values, P pairs.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voxbeam.transforms.identity.voices import Voices

_CHUNK = 1 << 16
Pairs = NDArray[np.int64]
"""[P, 2]: the smaller number first"""


@dataclass
class Groups:
    """Groups of voices, with what their voices may not be joined with."""

    group_N: NDArray[np.int64]
    """group of each voice"""
    sum_GD: NDArray[np.float32]
    """sum of the embeddings, each times its weight; G = N, rows of numbers that are no group are idle"""
    weight_G: NDArray[np.float64]
    label_G: NDArray[np.int64]
    """listed name; groups of different ones are never joined; -1 may be joined with any"""
    apart: Pairs
    """pairs of groups that are never joined: they have voices of the same recording"""
    refused: list[Pairs] = field(default_factory=list)
    """pairs similar enough to be joined that a constraint keeps apart"""

    @classmethod
    def of(cls, voices: Voices) -> "Groups":
        """Each voice a group of its own."""
        weight_N = voices.weight_N * voices.audible_N
        return cls(
            group_N=np.arange(len(voices)),
            sum_GD=voices.embedding_ND.astype(np.float32) * weight_N[:, None],
            weight_G=weight_N.astype(np.float64),
            label_G=voices.name_N.copy(),
            apart=_same_recording(voices.recording_N),
        )

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the groups, in order."""
        return np.unique(self.group_N)

    def similarity(self, pairs: Pairs) -> NDArray[np.float32]:
        """Mean similarity of the voices of each pair; 0 for a group without an embedding."""
        found = np.zeros(len(pairs), np.float32)
        for start in range(0, len(pairs), _CHUNK):
            a, b = pairs[start : start + _CHUNK].T
            dots = np.einsum("pd,pd->p", self.sum_GD[a], self.sum_GD[b])
            weights = self.weight_G[a] * self.weight_G[b]
            found[start : start + _CHUNK] = np.divide(dots, weights, out=np.zeros(len(a)), where=weights > 0)
        return found

    def join(self, pairs: Pairs) -> NDArray[np.int64]:
        """Joins pairs of groups, no group of which is in two; returns for each group [G] the one that it is in now."""
        first, second = pairs.T
        self.sum_GD[first] += self.sum_GD[second]
        self.weight_G[first] += self.weight_G[second]
        self.label_G[first] = np.maximum(self.label_G[first], self.label_G[second])
        root = np.arange(len(self.group_N))
        root[second] = first
        self.group_N = root[self.group_N]
        self.apart = ordered(root[self.apart])
        return root

    def allowed(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Whether no constraint keeps a pair apart."""
        labels = self.label_G[pairs]
        differ = (labels >= 0).all(axis=1) & (labels[:, 0] != labels[:, 1])
        size = len(self.group_N)
        forbidden = np.unique(self.apart[:, 0] * size + self.apart[:, 1])
        return ~differ & ~np.isin(pairs[:, 0] * size + pairs[:, 1], forbidden)

    def join_similar(self, pairs: Pairs, threshold: float) -> int:
        """Joins groups along candidate pairs until no two that a pair links are as similar as `threshold`; returns how many."""
        joined = 0
        pairs = unique(ordered(pairs))
        similarity = self.similarity(pairs)
        while True:
            near = similarity >= threshold
            pairs, similarity = pairs[near], similarity[near]
            allowed = self.allowed(pairs)
            self.refused.append(pairs[~allowed])
            pairs, similarity = pairs[allowed], similarity[allowed]
            best = _mutually_best(pairs, similarity, len(self.group_N))
            if not len(best):
                return joined
            joined += len(best)
            root = self.join(best)
            changed_G = np.zeros(len(root), bool)
            changed_G[best[:, 0]] = True
            moved = ordered(root[pairs])
            _, first = np.unique(moved[:, 0] * len(root) + moved[:, 1], return_index=True)
            pairs, similarity = moved[first], similarity[first]
            real = pairs[:, 0] != pairs[:, 1]
            pairs, similarity = pairs[real], similarity[real]
            again = changed_G[pairs].any(axis=1)
            similarity[again] = self.similarity(pairs[again])


def _mutually_best(pairs: Pairs, similarity: NDArray[np.float32], size: int) -> Pairs:
    """The pairs each of whose groups has no more similar partner than the other."""
    best_G = np.full(size, -np.inf, np.float32)
    for side in (0, 1):
        np.maximum.at(best_G, pairs[:, side], similarity)
    partner_G = np.full(size, size, np.int64)
    for side in (0, 1):
        top = similarity == best_G[pairs[:, side]]
        np.minimum.at(partner_G, pairs[top, side], pairs[top, 1 - side])
    a, b = pairs.T
    return pairs[(partner_G[a] == b) & (partner_G[b] == a)]


def _same_recording(recording_N: NDArray[np.int64]) -> Pairs:
    """All pairs of voices of the same recording."""
    order = np.argsort(recording_N, kind="stable")
    in_order = recording_N[order]
    pairs: list[Pairs] = []
    step = 1
    while len(order) > step and (same := in_order[step:] == in_order[:-step]).any():
        pairs.append(np.stack([order[:-step][same], order[step:][same]], axis=1))
        step += 1
    return ordered(np.concatenate(pairs)) if pairs else np.zeros((0, 2), np.int64)


def ordered(pairs: Pairs) -> Pairs:
    """Pairs with the smaller number first."""
    return np.sort(pairs, axis=1)


def unique(pairs: Pairs) -> Pairs:
    """Each pair once, in order."""
    if not len(pairs):
        return pairs
    size = int(pairs.max()) + 1
    keys = np.unique(pairs[:, 0] * size + pairs[:, 1])
    return np.stack([keys // size, keys % size], axis=1)
