"""Voices: how many people speak in a unit, and who of them speaks in each block of 100 ms.

Windows of 1.5 s in which one person speaks are clustered by their embeddings; then every stretch of speech is divided between the
voices found, as the path of least cost (Viterbi): a block costs its distance from a voice, a change of voice costs extra.

Shapes: N blocks, W windows, K voices, E = 192 embedding values, S blocks of a stretch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from voxbeam.models.voice_track import VoiceTrack
from voxbeam.transforms.audio.pauses import true_runs

WINDOW, HOP = 15, 5
"""blocks of a window, and from one window to the next"""
MIN_WINDOW = 8
"""a shorter stretch of speech does not help to find voices"""
MIXED_QUANTILE, MIXED_SIMILARITY = 0.35, 0.35
"""a window whose halves are less alike than this similarity probably holds two voices, and does not help either; at most this
fraction of the windows"""
ALIKE = 0.35
"""windows whose mean cosine distance is smaller surely are of one person"""
FEW_MORE, FARTHEST = 0.9, 0.6
"""the mean of few windows is uncertain: a group of n windows is joined from a distance that is larger by `FEW_MORE` / n, up to
`FARTHEST`"""
MIN_VOICE = WINDOW + 1
"""blocks: if the windows of all voices but one cover less, these are strange moments of that one person"""
MAX_WINDOWS = 2400
"""more windows are thinned out evenly: clustering takes time and memory that grow with the square of their number"""
CONTEXT = 5
"""blocks to either side of a block that its embedding is taken from"""
CHANGE_COST, CHANGE_COST_AT_PAUSE = 1.4, 0.8
"""of a change of voice, in units of similarity summed over blocks"""
ROUNDS = 3
"""times that blocks are assigned; between, each voice's embedding is taken anew from its blocks"""
MIN_RUN = 10
"""blocks of a run that is used for that"""


@dataclass(frozen=True)
class Voices:
    """Whose voice each block holds."""

    voice_N: NDArray[np.int64]
    """row of `embeddings_KE`; −1 where nobody speaks alone"""
    embeddings_KE: NDArray[np.float32]


def find_voices(
    track: VoiceTrack,
    alone_N: NDArray[np.bool_],
    pause_N: NDArray[np.bool_],
    threshold: float,
    labels_N: NDArray[np.int64] | None = None,
) -> Voices:
    """Voices of a unit and their blocks. The result depends on the arguments only.

    Args:
        track: of the unit's audio.
        alone_N: blocks in which one person speaks.
        pause_N: blocks beside a pause, however short, where a change of voice is likelier.
        threshold: voices nearer than this (cosine distance of the means of many windows) are one.
        labels_N: voices that another diarizer found, −1 for none; they replace the clustering.
    """
    stretches = true_runs(alone_N)
    embeddings_KE = _cluster(track, stretches, threshold) if labels_N is None else _embed_labels(track, labels_N)
    if not len(embeddings_KE):
        return Voices(np.full(len(alone_N), -1), embeddings_KE)
    voice_N = np.full(len(alone_N), -1)
    around = [_embed_around(track, start, end) for start, end in stretches]
    for round_ in range(ROUNDS):
        sharpness = 1 / (1 - _largest_similarity(embeddings_KE))  # voices that are alike need smaller differences to count
        for (start, end), around_SE in zip(stretches, around, strict=True):
            cost_S = np.where(pause_N[start:end], CHANGE_COST_AT_PAUSE, CHANGE_COST)
            voice_N[start:end] = best_path(sharpness * (around_SE @ embeddings_KE.T), cost_S)
        if round_ < ROUNDS - 1:
            embeddings_KE = _embed_again(track, voice_N, embeddings_KE)
    return Voices(voice_N, embeddings_KE)


def best_path(gain_SK: NDArray[np.float32], change_cost_S: NDArray[np.float64]) -> NDArray[np.int64]:
    """The voice of each block such that gains less costs of changes are largest (Viterbi); ties stay with the voice before."""
    total_K = gain_SK[0].astype(np.float64)
    origins = []
    voices = np.arange(gain_SK.shape[1])
    for gain_K, cost in zip(gain_SK[1:], change_cost_S[1:], strict=True):
        best = int(total_K.argmax())
        stay_K = total_K >= total_K[best] - cost
        origins.append(np.where(stay_K, voices, best))
        total_K = np.where(stay_K, total_K, total_K[best] - cost) + gain_K
    path = [int(total_K.argmax())]
    for origin_K in reversed(origins):
        path.append(int(origin_K[path[-1]]))
    return np.array(path[::-1])


def _embed_around(track: VoiceTrack, start: int, end: int) -> NDArray[np.float32]:
    """Embeddings [S, E] of the sound around each block of a stretch, within it."""
    at = np.arange(start, end)
    return track.embed(np.maximum(start, at - CONTEXT), np.minimum(end, at + CONTEXT + 1))


def _cluster(track: VoiceTrack, stretches: NDArray[np.int64], threshold: float) -> NDArray[np.float32]:
    """Embeddings [K, E] of the clusters of windows, in order of their first window; none without any window."""
    windows_W2 = _windows(stretches)
    if not len(windows_W2):
        return np.zeros((0, track.dimension), np.float32)
    start_W, end_W = windows_W2[:: -(-len(windows_W2) // MAX_WINDOWS)].T
    middle_W = (start_W + end_W) // 2
    rows_WE = track.embed(start_W, end_W)
    alike_W = (track.embed(start_W, middle_W) * track.embed(middle_W, end_W)).sum(axis=1)
    whole_W = alike_W >= min(MIXED_SIMILARITY, float(np.quantile(alike_W, MIXED_QUANTILE)))
    chosen = rows_WE[whole_W]
    labels = fcluster(linkage(chosen, "average", "cosine"), ALIKE, "distance") if len(chosen) > 1 else np.ones(1, int)
    groups = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    length_W = (end_W - start_W)[whole_W]
    # a group of a single short window is a cough or a mixture
    kept = [group for group in groups if len(group) > 1 or length_W[group].sum() >= 12] or [np.arange(len(chosen))]
    joined = join_alike(chosen, kept, threshold)
    covered = [_covered(start_W[whole_W][group], end_W[whole_W][group]) for group in joined]
    long = [group for group, blocks in zip(joined, covered, strict=True) if blocks >= MIN_VOICE]
    joined = long if len(long) == 1 else joined
    return _unit(np.stack([chosen[group].mean(axis=0) for group in joined]))


def join_alike(rows_WE: NDArray[np.float32], groups: list[NDArray[np.int64]], threshold: float) -> list[NDArray[np.int64]]:
    """Joins groups of windows, the likeliest first, while the means of two are nearer than the threshold for their size.

    Means of several windows tell two persons apart better than windows do: noise averages out of them. The result does not depend
    on the order of the groups.
    """
    groups = sorted(groups, key=lambda group: int(group.min()))
    sum_GE = np.stack([rows_WE[group].sum(axis=0) for group in groups])
    size_G = np.array([len(group) for group in groups])
    ratio_GG = np.stack([_ratios(g, sum_GE, size_G, threshold) for g in range(len(groups))])
    while len(groups) > 1:
        first, second = sorted(int(g) for g in np.unravel_index(int(ratio_GG.argmin()), ratio_GG.shape))
        if ratio_GG[first, second] >= 1:
            break
        groups[first] = np.sort(np.concatenate([groups[first], groups.pop(second)]))
        sum_GE[first] += sum_GE[second]
        size_G[first] += size_G[second]
        sum_GE, size_G = np.delete(sum_GE, second, axis=0), np.delete(size_G, second)
        ratio_GG = np.delete(np.delete(ratio_GG, second, axis=0), second, axis=1)
        ratio_GG[first] = ratio_GG[:, first] = _ratios(first, sum_GE, size_G, threshold)
    return groups


def _ratios(group: int, sum_GE: NDArray[np.float32], size_G: NDArray[np.int64], threshold: float) -> NDArray[np.float32]:
    """Distance [G] of a group's mean from that of every group, divided by the distance from which they are joined."""
    means_GE = _unit(sum_GE)
    limit_G = np.minimum(FARTHEST, threshold + FEW_MORE / np.minimum(size_G, size_G[group]))
    ratio_G = (1 - means_GE @ means_GE[group]) / limit_G
    ratio_G[group] = np.inf
    return np.asarray(ratio_G, np.float32)


def _covered(start_W: NDArray[np.int64], end_W: NDArray[np.int64]) -> int:
    """Number of blocks in at least one of the windows."""
    return len(np.unique(np.concatenate([np.arange(*window) for window in zip(start_W, end_W, strict=True)])))


def _windows(stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pieces of the stretches that are long enough; the longest stretch if none is."""
    found: list[tuple[int, int]] = []
    for start, end in stretches.tolist():
        if MIN_WINDOW <= end - start <= WINDOW:
            found.append((start, end))
        elif end - start > WINDOW:
            found += [(at, at + WINDOW) for at in range(start, end - WINDOW, HOP)] + [(end - WINDOW, end)]
    if not found and len(stretches):
        found.append(max(stretches.tolist(), key=lambda stretch: (stretch[1] - stretch[0], -stretch[0])))
    return np.array(found, np.int64).reshape(-1, 2)


def _embed_labels(track: VoiceTrack, labels_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Embeddings [K, E] of given voices 0, 1, … K − 1."""
    count = int(labels_N.max(initial=-1)) + 1
    runs = [true_runs(labels_N[: track.blocks] == voice) for voice in range(count)]
    return _unit(np.stack([_mean(track, r) for r in runs if len(r)])) if count else np.zeros((0, track.dimension), np.float32)


def _embed_again(track: VoiceTrack, voice_N: NDArray[np.int64], embeddings_KE: NDArray[np.float32]) -> NDArray[np.float32]:
    again = embeddings_KE.copy()
    for voice in range(len(again)):
        runs = true_runs(voice_N == voice)
        runs = runs[runs[:, 1] - runs[:, 0] >= MIN_RUN]
        if len(runs):
            again[voice] = _mean(track, runs)
    return _unit(again)


def _mean(track: VoiceTrack, runs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean embedding [E] of runs of blocks, weighted by their length."""
    start, end = runs.T
    return np.asarray((track.embed(start, end) * (end - start)[:, None]).sum(axis=0) / (end - start).sum(), np.float32)


def _largest_similarity(embeddings_KE: NDArray[np.float32]) -> float:
    similar_KK = embeddings_KE @ embeddings_KE.T - 2 * np.eye(len(embeddings_KE))
    return float(np.clip(similar_KK.max(), 0, 0.8)) if len(embeddings_KE) > 1 else 0.0


def _unit(rows_KE: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(rows_KE / np.maximum(1e-9, np.linalg.norm(rows_KE, axis=1, keepdims=True)), np.float32)
