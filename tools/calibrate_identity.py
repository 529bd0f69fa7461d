"""Calibrates identities for a speaker encoder, on one half of the speakers, and shows what they are worth on the other half.

    python -m tools.calibrate_identity --speech ../shared/data/librispeech --out OUT.json [--save E.npz]
    python -m tools.calibrate_identity --embeddings E.npz --out OUT.json

Every recording of the speech, one speaker each by its layout, is cut into two recordings and embedded by the diarizer's own
encoder; so are its pieces of 3 s. Speakers are dealt to the halves by the hash of their names. It writes a calibration
(`identify.calibration`), and prints how `find_identities` joins the recordings of the other half with it. An npz of another
encoder has `embedding` [N, D], and for each `speaker`, `recording`, `part` (`h0` and `h1` are the two recordings, all others
pieces) and `seconds`.

What it cannot show: the halves of a recording share room, microphone and day, so persons are easier to recognize here than in a
corpus. Negative pairs do not have that flaw, and the threshold follows from them above all.
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import CorpusConfig, IdentifyConfig
from voxbeam.transforms.identity.estimate import estimate
from voxbeam.transforms.identity.evidence import Calibration, Evidence, Scores
from voxbeam.transforms.identity.partition import find_identities
from voxbeam.transforms.identity.voices import make_voices

PIECE_S, RATE = 3.0, 16_000
DRAWS = 50
PIECES_OF_A_SPEAKER = 6
TAIL = (0.99, 0.999)
"""shares of the pairs of two persons through whose similarities their distribution is laid"""
NAMED_ODDS = 100.0
"""voices of one name are kept apart where they are this many times likelier to be two persons"""
Embedded = dict[str, NDArray[Any]]


def embed(speech: str) -> Embedded:
    """Halves and pieces of every recording, embedded by the diarizer's encoder."""
    import soundfile as sf
    import soxr
    import torch

    from voxbeam.models.campplus import fbank, load_campplus
    from voxbeam.models.threads import pin_threads
    from voxbeam.pipeline.steps.discover import discover

    pin_threads()
    encoder = load_campplus()
    rows: list[tuple[str, str, str, float]] = []
    found: list[NDArray[np.float64]] = []
    for recording in discover(speech, CorpusConfig().listing).recordings:
        if recording.speaker is None:
            continue
        wave, rate = sf.read(recording.uri, dtype="float32", always_2d=True)
        sound = wave.mean(axis=1) if rate == RATE else soxr.resample(wave.mean(axis=1), rate, RATE)
        half, piece = len(sound) // 2, round(PIECE_S * RATE)
        parts = {"h0": sound[:half], "h1": sound[half:]}
        parts |= {f"p{n}": sound[n * piece : (n + 1) * piece] for n in range(len(sound) // piece)}
        for part, stretch in parts.items():
            with torch.inference_mode():
                row = encoder.embed([fbank(torch.from_numpy(np.ascontiguousarray(stretch)))])[0].numpy().astype(np.float64)
            found.append(row / max(float(np.linalg.norm(row)), 1e-9))
            rows.append((recording.speaker, recording.recording, part, len(stretch) / RATE))
    speakers, recordings, names, seconds = zip(*rows, strict=True)
    return {
        "embedding": np.stack(found).astype(np.float16), "speaker": np.array(speakers), "recording": np.array(recordings),
        "part": np.array(names), "seconds": np.array(seconds),
    }  # fmt: skip


def is_calibrated_on(speaker: str) -> bool:
    """Whether a speaker is in the half that calibrates; the other half reports."""
    return hashlib.sha256(f"calibrate:{speaker}".encode()).digest()[0] % 2 == 0


def chosen(data: Embedded, mask: NDArray[np.bool_]) -> Embedded:
    return {name: column[mask] for name, column in data.items()}


def is_half(data: Embedded) -> NDArray[np.bool_]:
    return np.isin(data["part"], ("h0", "h1"))


def pairs(data: Embedded, center_D: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int64]]:
    """Similarities of pairs of recordings and of pieces, whether of one person, and the numbers of both speakers [P, 2]."""
    numbers = np.unique(data["speaker"], return_inverse=True)[1]
    similarity, same, both = [], [], []
    for mask in (is_half(data), some_pieces(data)):
        rows = data["embedding"][mask].astype(np.float64) - center_D
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        first, second = np.triu_indices(len(rows), 1)
        similarity.append(np.einsum("pd,pd->p", rows[first].astype(np.float32), rows[second].astype(np.float32)))
        both.append(np.stack([numbers[mask][first], numbers[mask][second]], axis=1))
        same.append(both[-1][:, 0] == both[-1][:, 1])
    return np.concatenate(similarity), np.concatenate(same), np.concatenate(both)


def some_pieces(data: Embedded) -> NDArray[np.bool_]:
    """The first pieces of every speaker, so that one with many does not count more."""
    chosen_pieces, seen = ~is_half(data), dict[str, int]()
    for n in np.flatnonzero(chosen_pieces).tolist():
        speaker = str(data["speaker"][n])
        seen[speaker] = seen.get(speaker, 0) + 1
        chosen_pieces[n] = seen[speaker] <= PIECES_OF_A_SPEAKER
    return chosen_pieces


def fit(similarity: NDArray[Any], same: NDArray[np.bool_], weight: NDArray[np.float64]) -> Scores:
    """Normal distributions: of one person's pairs by mean and deviation, of two persons' through two points of the upper tail."""
    of_one, mine = similarity[same].astype(np.float64), weight[same]
    mean = float(np.average(of_one, weights=mine))
    deviation = float(np.average((of_one - mean) ** 2, weights=mine) ** 0.5)
    order = np.argsort(similarity[~same])
    values, share = similarity[~same][order], np.cumsum(weight[~same][order]) / weight[~same].sum()
    points = [float(values[min(int(np.searchsorted(share, mark)), len(values) - 1)]) for mark in TAIL]
    normal = [NormalDist().inv_cdf(mark) for mark in TAIL]
    spread = (points[1] - points[0]) / (normal[1] - normal[0])
    return Scores(
        same_mean=round(mean, 4), same_deviation=round(deviation, 4),
        different_mean=round(points[0] - normal[0] * spread, 4), different_deviation=round(spread, 4),
    )  # fmt: skip


def calibrate(data: Embedded, about: str) -> Calibration:
    """From these speakers; `draws` by drawing speakers again."""
    numbers = np.unique(data["speaker"], return_inverse=True)[1]
    persons = int(numbers.max()) + 1
    halves = is_half(data)
    means = [data["embedding"][halves & (numbers == n)].astype(np.float64).mean(axis=0) for n in range(persons)]
    center_D: NDArray[np.float64] = np.round(np.stack(means).mean(axis=0), 5)
    similarity, same, both = pairs(data, center_D)
    scores = fit(similarity, same, np.ones(len(similarity)))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(rng.integers(0, persons, persons), minlength=persons).astype(float)
        draws.append(fit(similarity, same, np.where(same, counts[both[:, 0]], counts[both].prod(axis=1))))
    grid = np.linspace(-1, scores.same_mean, 2001)
    apart = float(grid[scores.log_ratio(grid) >= -np.log(NAMED_ODDS)][0])
    return Calibration(about=about, center_D=center_D, scores=scores, draws=tuple(draws), min_named_similarity=round(apart, 3))


def report(data: Embedded, calibration: Calibration, title: str) -> str:
    """How the two recordings of each speaker are joined, beside the truth."""
    halves = chosen(data, is_half(data))
    # a speaker may have many recordings: only the first of each is taken, so that all count the same
    first = {
        speaker: recording
        for speaker, recording in sorted(zip(halves["speaker"], halves["recording"], strict=True), reverse=True)
    }
    halves = chosen(halves, np.array([first[s] == r for s, r in zip(halves["speaker"], halves["recording"], strict=True)]))
    keys = [f"{r}-{p}_v1" for r, p in zip(halves["recording"].tolist(), halves["part"].tolist(), strict=True)]
    speakers = dict(zip(keys, halves["speaker"].tolist(), strict=True))
    speech = np.round(halves["seconds"] * 1000).astype(np.int64)
    voices = make_voices(keys, keys, [None] * len(keys), speech.tolist(), calibration.center(halves["embedding"]))
    evidence = Evidence(calibration, IdentifyConfig(), len(voices))
    found = find_identities(voices, evidence)
    truth = np.array([speakers[key] for key in voices.keys])
    linked = sum(len(set(found.identity_N[truth == one].tolist())) == 1 for one in set(truth.tolist()))
    joined = wrong = 0
    for identity in range(len(found.nearest_I)):
        members = truth[found.identity_N == identity]
        pairs = [(a, b) for n, a in enumerate(members) for b in members[n + 1 :]]
        joined, wrong = joined + len(pairs), wrong + sum(a != b for a, b in pairs)
    persons = len(set(truth.tolist()))
    estimates = {name: round(value, 4) for name, value in estimate(voices, found, evidence).items()}
    return (
        f"{title}: {persons} speakers, {len(voices)} recordings of {np.median(speech) / 1000:.1f} s: linked {linked} "
        f"({linked / persons:.1%}), links {joined}, wrong {wrong} ({wrong / max(1, joined):.1%}), "
        f"identities {len(found.nearest_I)}; estimated {estimates}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--speech", help="recordings of one speaker each")
    arguments.add_argument("--embeddings", type=Path, help="an npz instead")
    arguments.add_argument("--save", type=Path, help="where to write the npz")
    arguments.add_argument("--about", default="", help="encoder and speech, for the calibration")
    arguments.add_argument("--out", type=Path, help="where to write the calibration")
    options = arguments.parse_args()
    data = dict(np.load(options.embeddings)) if options.embeddings else embed(options.speech)
    if options.save:
        np.savez(options.save, **data)
    mine = np.array([is_calibrated_on(speaker) for speaker in data["speaker"].tolist()])
    halfway = calibrate(chosen(data, mine), options.about)
    print(report(chosen(data, mine), halfway, "calibrated on"))
    print(report(chosen(data, ~mine), halfway, "others"))
    if options.out:
        options.out.write_text(json.dumps(halfway.to_json()) + "\n", encoding="utf-8")
    print({**asdict(halfway.scores), "min_named_similarity": halfway.min_named_similarity})


if __name__ == "__main__":
    main()
