"""Partition: which voices of a corpus are one person, and how sure that is. A function of the set of voices and of nothing else.

1. Voices of one listed name are joined, unless they are clearly different. Those that are go on with the name as a label of
   their own.
2. Every group's nearest groups are looked up, and groups are joined along these pairs; again, until nothing is joined.

Shapes: N voices, I identities, G groups, D embedding values, K neighbors, P pairs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.transforms.identity.evidence import Evidence
from voxbeam.transforms.identity.groups import Groups, Pairs, ordered, unique
from voxbeam.transforms.identity.neighbors import nearest
from voxbeam.transforms.identity.voices import Voices

NEIGHBORS = 16
_RARE = 1e-3
"""neighbors are looked up again unless at most this share of the groups were joined; below a thousand groups, unless none was"""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Partition:
    """Identities of the voices. Identities are numbered in order of their first voices."""

    identity_N: NDArray[np.int64]
    confidence_N: NDArray[np.float64]
    """probability that a voice belongs to its identity and to no other; NaN without an embedding"""
    nearest_I: NDArray[np.int64]
    """the most similar other identity; -1 without one"""
    nearest_similarity_I: NDArray[np.float64]
    duplicate_I: NDArray[np.float64]
    """probability that that one is the same person; NaN without an embedding"""
    conflict_N: NDArray[np.bool_]
    """whether a voice is clearly different from others of its listed name"""
    similar: Pairs
    """pairs of identities that a constraint keeps apart though they are as similar as one person"""
    own_N: NDArray[np.float64]
    """similarity of a voice to the others of its identity; NaN for a single one or without an embedding"""


def find_identities(voices: Voices, evidence: Evidence) -> Partition:
    """The identities of the voices of a corpus."""
    groups = Groups.of(voices)
    conflict_N = _join_named(groups, voices, evidence.min_named_similarity)
    groups.refused.clear()
    while True:
        numbers = groups.numbers
        numbers = numbers[groups.weight_G[numbers] > 0]
        pairs = _neighbors(groups, numbers)
        if groups.join_similar(pairs, evidence.threshold) <= len(numbers) * _RARE:
            return _describe(groups, voices, evidence, conflict_N, pairs)


def _join_named(groups: Groups, voices: Voices, threshold: float) -> NDArray[np.bool_]:
    """Joins the voices of each listed name; returns which are clearly different from most of their name's speech.

    Voices without an embedding go by their name. A voice is compared with some others of its name, then groups with groups.
    """
    name_N, audible_N = voices.name_N, voices.audible_N
    listed = np.flatnonzero(name_N >= 0)
    listed = listed[np.lexsort((listed, ~audible_N[listed], name_N[listed]))]
    heard = listed[audible_N[listed]]
    groups.join_similar(_some_pairs(heard, name_N[heard]), threshold)
    conflict_N = np.zeros(len(voices), bool)
    # Of each name, the group with the most speech keeps it; the others get labels that no other group has.
    speech_G = np.bincount(groups.group_N, voices.weight_N, minlength=len(voices))
    group_H = np.unique(groups.group_N[heard])
    group_H = group_H[np.lexsort((group_H, -speech_G[group_H], name_N[group_H]))]
    first = np.append(True, name_N[group_H][1:] != name_N[group_H][:-1]) if len(group_H) else np.zeros(0, bool)
    main_of = np.full(int(name_N.max(initial=-1)) + 1, -1, np.int64)
    main_of[name_N[group_H[first]]] = group_H[first]
    others = group_H[~first]
    groups.label_G[others] = len(main_of) + np.arange(len(others))
    conflict_N[np.isin(groups.group_N, others)] = True
    # Voices that nobody can compare follow the name. They add nothing to a sum, so many may join one group at once.
    silent = listed[~audible_N[listed]]
    if len(silent):
        first_of = np.full(len(main_of), len(voices), np.int64)
        np.minimum.at(first_of, name_N[silent], silent)
        first_of = np.where(main_of >= 0, np.minimum(first_of, main_of), first_of)
        moved = np.flatnonzero((main_of >= 0) & (first_of < main_of))
        groups.join(np.stack([first_of[moved], main_of[moved]], axis=1))
        rest = silent[silent != first_of[name_N[silent]]]
        groups.join(np.stack([first_of[name_N[rest]], rest], axis=1))
    return conflict_N


def _some_pairs(voices_L: NDArray[np.int64], name_L: NDArray[np.int64]) -> Pairs:
    """Pairs of voices of the same name: each with its next four, eighth, sixteenth … in order."""
    pairs, step = [np.zeros((0, 2), np.int64)], 1
    while len(voices_L) > step:
        same = name_L[step:] == name_L[:-step]
        if step > 4 and not same.any():
            break
        pairs.append(np.stack([voices_L[:-step][same], voices_L[step:][same]], axis=1))
        step = step + 1 if step < 4 else 2 * step
    return ordered(np.concatenate(pairs))


def _neighbors(groups: Groups, numbers: NDArray[np.int64]) -> Pairs:
    """Pairs of these groups whose mean embeddings point most nearly the same way."""
    center_GD = np.empty((len(numbers), groups.sum_GD.shape[1]), np.float32)
    for start in range(0, len(numbers), _CHUNK):
        sums = groups.sum_GD[numbers[start : start + _CHUNK]]
        center_GD[start : start + _CHUNK] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    found = nearest(center_GD, NEIGHBORS)
    rows, columns = np.nonzero(found >= 0)
    return unique(ordered(np.stack([numbers[rows], numbers[found[rows, columns]]], axis=1)))


def _describe(
    groups: Groups,
    voices: Voices,
    evidence: Evidence,
    conflict_N: NDArray[np.bool_],
    pairs: Pairs,
) -> Partition:
    """Similarities and probabilities of the finished groups; `pairs` are neighbors, by the groups that they were."""
    all_numbers, identity_N = np.unique(groups.group_N, return_inverse=True)
    identity_of = np.full(len(voices), -1, np.int64)
    identity_of[all_numbers] = np.arange(len(all_numbers))
    audible_N = voices.audible_N
    # The most similar other group of each audible one.
    nearest_I = np.full(len(all_numbers), -1, np.int64)
    nearest_similarity_I = np.full(len(all_numbers), np.nan)
    pairs = unique(ordered(groups.group_N[pairs]))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    similarity = groups.similarity(pairs)
    pairs, similarity = np.concatenate([pairs, pairs[:, ::-1]]), np.concatenate([similarity, similarity])
    order = np.lexsort((pairs[:, 1], -similarity, pairs[:, 0]))
    pairs, similarity = pairs[order], similarity[order]
    first = np.append(True, pairs[1:, 0] != pairs[:-1, 0]) if len(pairs) else np.zeros(0, bool)
    top = identity_of[pairs[first, 0]]
    nearest_I[top], nearest_similarity_I[top] = identity_of[pairs[first, 1]], similarity[first]
    near_N = np.where(nearest_I[identity_N] >= 0, all_numbers[nearest_I[identity_N]], -1)
    own_N, other_N = _voice_similarities(groups, voices, near_N)
    listed_N = (voices.name_N >= 0) & ~conflict_N
    belongs_N = np.where(np.isnan(own_N), 1.0, evidence.probability(np.nan_to_num(own_N), listed=listed_N))
    elsewhere_N = np.where(np.isnan(other_N), 0.0, evidence.probability(np.nan_to_num(other_N)))
    duplicate_I = np.where(nearest_I >= 0, evidence.probability(np.nan_to_num(nearest_similarity_I)), 0.0)
    audible_I = np.zeros(len(all_numbers), bool)
    audible_I[identity_N[audible_N]] = True
    return Partition(
        identity_N=identity_N,
        confidence_N=np.where(audible_N, belongs_N * (1 - elsewhere_N), np.nan),
        nearest_I=nearest_I,
        nearest_similarity_I=nearest_similarity_I,
        duplicate_I=np.where(audible_I, duplicate_I, np.nan),
        conflict_N=conflict_N,
        similar=_similar(groups, identity_of, evidence.threshold),
        own_N=own_N,
    )


def _voice_similarities(
    groups: Groups, voices: Voices, near_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean similarity of each voice to the others of its group, and to the group next to that; NaN where there is none."""
    own_N, other_N = np.full(len(voices), np.nan), np.full(len(voices), np.nan)
    weight_N, audible_N = voices.weight_N, voices.audible_N
    for start in range(0, len(voices), _CHUNK):
        part = slice(start, start + _CHUNK)
        embedding, weight = voices.embedding_ND[part].astype(np.float32), weight_N[part]
        group, near = groups.group_N[part], near_N[part]
        rest = groups.weight_G[group] - weight
        dots = np.einsum("nd,nd->n", embedding, groups.sum_GD[group]) - weight * np.einsum("nd,nd->n", embedding, embedding)
        shared = audible_N[part] & (rest > 1e-3)
        own_N[part][shared] = (dots / np.where(shared, rest, 1.0))[shared]
        beside = audible_N[part] & (near >= 0)
        dots = np.einsum("nd,nd->n", embedding, groups.sum_GD[near])
        other_N[part][beside] = (dots / np.maximum(groups.weight_G[near], 1e-9))[beside]
    return own_N, other_N


def _similar(groups: Groups, identity_of: NDArray[np.int64], threshold: float) -> Pairs:
    """The refused pairs that are still as similar as one person, as pairs of identities; `identity_of` is by group."""
    pairs = unique(ordered(groups.group_N[np.concatenate([np.zeros((0, 2), np.int64), *groups.refused])]))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.asarray(identity_of[pairs[groups.similarity(pairs) >= threshold]])
