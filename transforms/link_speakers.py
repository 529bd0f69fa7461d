"""Links the speakers of a recording's windows, and names them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.identity import voice_key
from voxbeam.schemas.segment import LocalSpeaker


def link_speakers(windows: Sequence[Sequence[LocalSpeaker]], threshold: float) -> list[dict[str, int]]:
    """Finds which local speakers of the windows of one recording are the same.

    Agglomerative clustering: the two nearest groups are joined until no two are nearer than `threshold` (cosine distance). A
    group's embedding is the mean of its members' embeddings, weighted by `speech_ms`. Two speakers of the same window are never
    joined. The result depends on the arguments only; ties go to the speaker that comes first.

    Returns:
        For each window, a map from label to a number within the recording; 0 is the speaker with the most speech.
    """
    groups = [{(w, s.label)} for w, speakers in enumerate(windows) for s in speakers]
    all_speakers = [s for speakers in windows for s in speakers]
    if not all_speakers:
        return [{} for _ in windows]
    sums_GD = np.array([np.asarray(s.embedding) * max(1, s.speech_ms) for s in all_speakers], dtype=np.float64)
    speech = [s.speech_ms for s in all_speakers]
    members = [frozenset({w}) for w, speakers in enumerate(windows) for _ in speakers]
    distance_GG = _distances(sums_GD)
    for a in range(len(groups)):
        for b in range(len(groups)):
            if members[a] & members[b]:
                distance_GG[a, b] = np.inf
    while len(groups) > 1:
        a, b = sorted(divmod(int(distance_GG.argmin()), len(groups)))
        if not distance_GG[a, b] < threshold:
            break
        groups[a] |= groups[b]
        sums_GD[a] += sums_GD[b]
        speech[a] += speech[b]
        members[a] |= members[b]
        sums_GD = np.delete(sums_GD, b, axis=0)
        distance_GG = np.delete(np.delete(distance_GG, b, axis=0), b, axis=1)
        del groups[b], speech[b], members[b]
        row_G = _distances(sums_GD, a)
        row_G[[bool(members[a] & other) for other in members]] = np.inf
        distance_GG[a], distance_GG[:, a] = row_G, row_G
    order = sorted(range(len(groups)), key=lambda g: (-speech[g], g))
    links: list[dict[str, int]] = [{} for _ in windows]
    for number, group in enumerate(order):
        for window, label in groups[group]:
            links[window][label] = number
    # Groups are sets; the maps get the order of the speakers, so that equal input gives equal text when printed.
    return [{s.label: link[s.label] for s in speakers} for link, speakers in zip(links, windows, strict=True)]


def name_speakers(recording: str, listed: str | None, count: int) -> list[str]:
    """Names of the `count` linked speakers of a recording, the one with the most speech first.

    The listed name goes to that first speaker; every other one is called `<recording>_v<number>`.
    """
    names = [voice_key(recording, number + 1) for number in range(count)]
    if listed and names:
        names[0] = listed
    return names


def _distances(sums_GD: NDArray[np.float64], row: int | None = None) -> NDArray[np.float64]:
    """Cosine distances [G, G] between groups, or [G] from one of them; 1 to and from a zero embedding."""
    norms_G1 = np.linalg.norm(sums_GD, axis=1, keepdims=True)
    unit_GD = np.divide(sums_GD, norms_G1, out=np.zeros_like(sums_GD), where=norms_G1 > 0)
    return np.asarray(1.0 - (unit_GD @ unit_GD.T if row is None else unit_GD @ unit_GD[row]))
