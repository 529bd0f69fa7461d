"""Voices: which windows are of one person. Made embeddings, as noisy as CAM++'s are for windows of 1.5 s."""

import numpy as np
import pytest

from voxbeam.transforms.voices import join_alike

THRESHOLD = 0.22


def person(rng, near=None, similarity=0.0):
    """A direction; if one is given, another with that similarity to it."""
    mean = rng.standard_normal(192)
    if near is not None:
        mean -= (mean @ near) * near
        mean = similarity * near + np.sqrt(1 - similarity**2) * mean / np.linalg.norm(mean)
    return mean / np.linalg.norm(mean)


def windows(rng, mean, count):
    """Embeddings of length 1 around a direction; two of them have a similarity of about 0.6."""
    noise = rng.standard_normal((count, 192)) / np.sqrt(192)
    rows = 0.775 * mean + 0.63 * noise
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_two_persons_who_sound_alike_stay_two(seed):
    rng = np.random.default_rng(seed)
    one = person(rng)
    rows = np.concatenate([windows(rng, one, 20), windows(rng, person(rng, one, 0.55), 20)])
    found = join_alike(rows, list(np.arange(40).reshape(8, 5)), THRESHOLD)
    assert [sorted(group.tolist()) for group in found] == [list(range(20)), list(range(20, 40))]


@pytest.mark.parametrize("seed", range(5))
def test_one_person_in_many_groups_is_one(seed):
    rng = np.random.default_rng(seed)
    rows = windows(rng, person(rng), 30)
    groups = np.split(np.arange(30), [2, 5, 12, 20])
    (found,) = join_alike(rows, groups, THRESHOLD)
    assert sorted(found.tolist()) == list(range(30))


def test_the_order_of_the_groups_does_not_matter():
    rng = np.random.default_rng(9)
    rows = np.concatenate([windows(rng, person(rng), 12) for _ in range(3)])
    groups = list(np.arange(36).reshape(12, 3))
    forward, backward = (join_alike(rows, order, THRESHOLD) for order in (groups, groups[::-1]))
    assert [set(a.tolist()) for a in forward] == [set(b.tolist()) for b in backward]
    assert len(forward) == 3
