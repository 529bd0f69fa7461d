"""Calibrates identities for a speaker encoder, on one half of the speakers, and shows what they are worth on the other half.

    python -m tools.calibrate_identity --speech ../shared/data/librispeech [--pipeline embedded] [--save embeddings.npz]
    python -m tools.calibrate_identity --embeddings embeddings.npz

Every recording of the speech, one speaker each by its layout, is cut into two recordings and embedded by the diarizer's own encoder;
so are its pieces of 3 s. Speakers are dealt to the halves by the hash of their names. It prints the section `identify` of a
configuration, and how `find_identities` joins the recordings of the other half with it. An npz of another encoder has
`embedding` [N, D], and for each `speaker`, `recording`, `part` (`h0` and `h1` are the two recordings, all others pieces) and `seconds`.

What it cannot show: the halves of a recording share room, microphone and day, so persons are easier to recognize here than in a
corpus. Negative pairs do not have that flaw, and the threshold follows from them above all.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from voxbeam.schemas.config import CorpusConfig, DiarizeConfig, IdentifyConfig
from voxbeam.transforms.identity.estimate import estimate
from voxbeam.transforms.identity.evidence import Evidence
from voxbeam.transforms.identity.partition import find_identities
from voxbeam.transforms.identity.voices import make_voices

PIECE_S, RATE = 3.0, 16_000
RESAMPLES = 100
PIECES_OF_A_SPEAKER = 6
NAMED_ODDS = 100.0
"""voices of one name are kept apart where they are this many times likelier to be two persons"""
Embedded = dict[str, NDArray[Any]]


def embed(speech: str, pipeline: str) -> Embedded:
    """Halves and pieces of every recording, embedded by the diarizer's encoder."""
    import soundfile as sf
    import soxr
    import torch

    from voxbeam.models.threads import pin_threads
    from voxbeam.pipeline.steps.discover import discover
    from voxbeam.transforms.diarize import load_diarizer

    pin_threads()
    encoder = load_diarizer(DiarizeConfig(pipeline=pipeline))._embedding
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
            row = np.nan_to_num(encoder(torch.from_numpy(np.ascontiguousarray(stretch))[None, None])[0].astype(np.float64))
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


def fit(data: Embedded, weight: dict[str, float]) -> tuple[float, float]:
    """Slope and offset of the log-odds of pairs, both kinds weighing the same: logistic regression.

    `weight` says how often each speaker counts, as in a bootstrap.
    """
    keep: list[int] = []
    pieces: dict[str, int] = {}
    for n, (speaker, part) in enumerate(zip(data["speaker"].tolist(), data["part"].tolist(), strict=True)):
        if part not in ("h0", "h1"):
            pieces[speaker] = pieces.get(speaker, 0) + 1
            if pieces[speaker] > PIECES_OF_A_SPEAKER:
                continue
        keep.append(n)
    embedding, speaker = data["embedding"][keep].astype(np.float32), data["speaker"][keep]
    whole = is_half(data)[keep]
    similarity = embedding @ embedding.T
    same = speaker[:, None] == speaker[None]
    alike = whole[:, None] == whole[None]  # a half is not compared with a piece, which may be of itself
    upper = np.triu(np.ones_like(same), 1) & alike
    counts = np.array([weight.get(name, 0.0) for name in speaker.tolist()])
    pair_weight = counts[:, None] * np.where(same, 1.0, counts[None])
    scores, labels, weights = similarity[upper], same[upper], pair_weight[upper]
    weights = np.where(labels, weights / weights[labels].sum(), weights / weights[~labels].sum())

    def loss(parameters: NDArray[np.float64]) -> float:
        logit = parameters[0] * (scores - 0.5) + parameters[1]
        return float(weights @ np.logaddexp(0, np.where(labels, -logit, logit)))

    slope, middle = minimize(loss, np.array([20.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-9}).x
    return float(slope), float(middle - 0.5 * slope)


def calibrate(data: Embedded) -> IdentifyConfig:
    """The section `identify`, from the speakers that calibrate; the errors by drawing speakers again."""
    speakers = sorted(set(data["speaker"].tolist()))
    slope, offset = fit(data, dict.fromkeys(speakers, 1.0))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        names, counts = np.unique(rng.choice(speakers, len(speakers)), return_counts=True)
        drawn.append(fit(data, dict(zip(names.tolist(), counts.astype(float).tolist(), strict=True))))
    errors = np.cov(np.array(drawn).T)
    return IdentifyConfig(
        slope=round(slope, 2),
        offset=round(offset, 2),
        slope_variance=round(errors[0, 0], 3),
        covariance=round(errors[0, 1], 3),
        offset_variance=round(errors[1, 1], 3),
        min_named_similarity=round((-np.log(NAMED_ODDS) - offset) / slope, 2),
    )


def report(data: Embedded, config: IdentifyConfig, title: str) -> str:
    """How the two recordings of each speaker are joined, beside the truth."""
    halves = chosen(data, is_half(data))
    # a speaker may have many recordings: only the first of each is taken, so that all count the same
    first = {speaker: recording for speaker, recording in sorted(zip(halves["speaker"], halves["recording"], strict=True), reverse=True)}
    halves = chosen(halves, np.array([first[s] == r for s, r in zip(halves["speaker"], halves["recording"], strict=True)]))
    keys = [f"{r}-{p}_v1" for r, p in zip(halves["recording"].tolist(), halves["part"].tolist(), strict=True)]
    speakers = dict(zip(keys, halves["speaker"].tolist(), strict=True))
    speech = np.round(halves["seconds"] * 1000).astype(np.int64)
    voices = make_voices(keys, keys, [None] * len(keys), speech, halves["embedding"])
    evidence = Evidence(config, len(voices))
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
        f"({linked / persons:.1%}), links {joined}, wrong {wrong} ({wrong / max(1, joined):.1%}), identities {len(found.nearest_I)}; "
        f"estimated {estimates}"
    )


def distances(data: Embedded) -> str:
    """Mean and deviation of similarities, which benchmarks/identity.py takes."""
    lines = []
    for kind, part in (("halves", chosen(data, is_half(data))), ("pieces", chosen(data, ~is_half(data)))):
        embedding = part["embedding"].astype(np.float32)
        similarity = embedding @ embedding.T
        same = part["speaker"][:, None] == part["speaker"][None]
        upper = np.triu(np.ones_like(same), 1)
        for label, values in (("same", similarity[same & upper]), ("different", similarity[~same & upper])):
            marks = np.quantile(values, [0.001, 0.01, 0.5, 0.99, 0.999, 0.9999]).round(3).tolist()
            lines.append(f"{kind}, {label}: mean {values.mean():.3f}, deviation {values.std():.3f}, quantiles {marks}, largest {values.max():.3f}")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--speech", help="recordings of one speaker each")
    arguments.add_argument("--pipeline", default="embedded", help="as diarize.pipeline (default: %(default)s)")
    arguments.add_argument("--embeddings", type=Path, help="an npz instead")
    arguments.add_argument("--save", type=Path, help="where to write the npz")
    options = arguments.parse_args()
    data = dict(np.load(options.embeddings)) if options.embeddings else embed(options.speech, options.pipeline)
    if options.save:
        np.savez(options.save, **data)
    mine = np.array([is_calibrated_on(speaker) for speaker in data["speaker"].tolist()])
    config = calibrate(chosen(data, mine))
    print(distances(data))
    print("identify:")
    for name, value in config.model_dump(exclude_defaults=False).items():
        print(f"  {name}: {'null' if value is None else value}")
    print(report(chosen(data, mine), config, "calibrated on"))
    print(report(chosen(data, ~mine), config, "others"))


if __name__ == "__main__":
    main()
