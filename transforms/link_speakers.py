"""Link: the same voice across the windows of one recording, and what a speaker is called."""

from collections.abc import Sequence

import numpy as np

from voxbeam.schemas.segment import Voice

DEFAULT_THRESHOLD = 0.3
"""voices nearer than this (cosine distance) are one person; GE2E voices of one reader differ by less, of two by more"""


def link_voices(windows: Sequence[Sequence[Voice]], threshold: float = DEFAULT_THRESHOLD) -> list[dict[str, int]]:
    """Links the voices of the windows of one recording.

    Agglomerative: the two nearest groups join first, a group being known by the mean of its embeddings weighted by
    speech_ms, until none are nearer than `threshold` (cosine distance). Two voices of the same window never end in the
    same group.

    Returns:
        For every window a map from voice label to a number within the recording, 0 for the voice with most speech. The
        result depends on nothing but the arguments; ties go to the voice that comes first.
    """
    groups = [{(w, v.voice)} for w, voices in enumerate(windows) for v in voices]
    every = [v for voices in windows for v in voices]
    if not every:
        return [{} for _ in windows]
    sums = np.array([np.asarray(v.embedding) * max(1, v.speech_ms) for v in every], dtype=np.float64)
    speech = [v.speech_ms for v in every]
    heard = [frozenset({w}) for w, voices in enumerate(windows) for _ in voices]
    apart = _distances(sums)
    for a in range(len(groups)):
        for b in range(len(groups)):
            if heard[a] & heard[b]:
                apart[a, b] = np.inf
    while len(groups) > 1:
        a, b = sorted(divmod(int(apart.argmin()), len(groups)))
        if not apart[a, b] < threshold:
            break
        groups[a] |= groups[b]
        sums[a] += sums[b]
        speech[a] += speech[b]
        heard[a] |= heard[b]
        sums = np.delete(sums, b, axis=0)
        apart = np.delete(np.delete(apart, b, axis=0), b, axis=1)
        del groups[b], speech[b], heard[b]
        row = _distances(sums, a)
        row[[bool(heard[a] & other) for other in heard]] = np.inf
        apart[a], apart[:, a] = row, row
    order = sorted(range(len(groups)), key=lambda g: (-speech[g], g))
    links: list[dict[str, int]] = [{} for _ in windows]
    for number, group in enumerate(order):
        for window, voice in groups[group]:
            links[window][voice] = number
    # maps in the order of the voices, so that equal input prints equally
    return [{v.voice: link[v.voice] for v in voices} for link, voices in zip(links, windows, strict=True)]


def name_speakers(recording: str, listed: str | None, voices: int) -> list[str]:
    """Names of the `voices` linked voices of a recording, the dominant one first.

    The listing knows who reads: that name goes to the dominant voice. Nobody knows the others, nor the first where
    nothing is listed.
    """
    names = [f"{recording}_v{number + 1}" for number in range(voices)]
    if listed and names:
        names[0] = listed
    return names


def _distances(sums: np.ndarray, row: int | None = None) -> np.ndarray:
    """Cosine distances [g, g] between groups, or [g] from one of them; a group without direction is far from all."""
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0)
    return 1.0 - (unit @ unit.T if row is None else unit @ unit[row])
