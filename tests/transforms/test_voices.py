"""Voices: which windows are of one person, who gets a label. Made embeddings, as noisy as those of CAM++ for windows of 1.5 s."""

import numpy as np
import pytest

from voxbeam.models.voice_track import BLOCK_FRAMES, Pooling, VoiceTrack
from voxbeam.transforms.voices import find_voices, join_alike

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


def track_of(rng, parts):
    """A track whose frames are embeddings: (mean, blocks) one after the other."""
    frames = np.concatenate([mean + rng.standard_normal((blocks * BLOCK_FRAMES, 192)) * 0.1 for mean, blocks in parts])
    by_block = frames.reshape(-1, BLOCK_FRAMES, 192)
    totals, squares = np.zeros((2, len(by_block) + 1, 192))
    np.cumsum(by_block.sum(axis=1), axis=0, out=totals[1:])
    np.cumsum(np.square(by_block).sum(axis=1), axis=0, out=squares[1:])
    pool = Pooling(np.eye(192, 384, dtype=np.float32), np.zeros(192, np.float32))
    return VoiceTrack(frames.astype(np.float16), totals, squares, pool)


@pytest.mark.parametrize(("blocks", "voices"), [(10, 1), (13, 1), (15, 1), (30, 2), (60, 2)])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_label_beside_one_other_needs_enough_lone_speech(blocks, voices, first):
    """The first word of a reading may sound like nobody else: 1.4 s at a distance of 0.8 were a person of their own."""
    rng = np.random.default_rng(3)
    one, other = person(rng), person(rng)
    parts = [(other, blocks), (one, 120)] if first else [(one, 120), (other, blocks)]
    alone = np.ones(120 + blocks, bool)
    gap = blocks if first else 120
    alone[gap - 1 : gap + 1] = False
    found = find_voices(track_of(rng, parts), alone, ~alone, THRESHOLD)
    assert len(found.embeddings_KE) == voices
    assert len(set(found.voice_N[alone].tolist())) == voices


def test_whoever_says_little_among_several_has_a_label():
    rng = np.random.default_rng(4)
    blocks = [120, 14, 120]
    alone = np.ones(sum(blocks), bool)
    alone[[119, 120, 133, 134]] = False
    found = find_voices(track_of(rng, [(person(rng), count) for count in blocks]), alone, ~alone, THRESHOLD)
    assert len(set(found.voice_N[alone].tolist())) == len(found.embeddings_KE) == 3


def test_short_audio_of_two_persons_has_both():
    rng = np.random.default_rng(4)
    alone = np.ones(28, bool)
    alone[13:15] = False
    found = find_voices(track_of(rng, [(person(rng), 14), (person(rng), 14)]), alone, ~alone, THRESHOLD)
    assert len(set(found.voice_N[alone].tolist())) == 2
