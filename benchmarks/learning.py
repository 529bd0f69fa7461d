"""Validation loss of a training run, compared with unigram and bigram counts.

    python benchmarks/learning.py RUN CORPUS [--out curve.json]

For the first codebook (AR), the bigram is conditioned on the previous frame; for the others (NAR), on the previous codebook in
the same frame. Counts are those of the training split, smoothed towards the unigram with the weight that is best on the
validation split, which favors the baseline. Losses are nats per frame.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from voxbeam.schemas.formats import CODEBOOK_SIZE, N_CODEBOOKS
from voxbeam.trainer.data.stream import Stream

Codes = list[NDArray[np.int16]]
WEIGHTS = (3, 10, 30, 100, 300, 1000)
"""pseudo-counts of the unigram in the bigram"""


def read_split(corpus: str, split: str) -> Codes:
    """Codes [K, T] of all samples of a split."""
    stream = Stream(corpus, split=split)
    return [utterance.codes_KT for utterance in stream.read(np.arange(len(stream.index)))]


def unigram_loss(train: Codes, valid: Codes, book: int) -> tuple[float, NDArray[np.float64]]:
    """Loss, and the probabilities [V]."""
    counts_V = np.bincount(np.concatenate([codes[book] for codes in train]), minlength=CODEBOOK_SIZE) + 1.0
    probability_V = counts_V / counts_V.sum()
    return -float(np.mean(np.log(probability_V[np.concatenate([codes[book] for codes in valid])]))), probability_V


def bigram_loss(train: Codes, valid: Codes, book: int, unigram_V: NDArray[np.float64]) -> float:
    """Conditioned on the previous frame (first codebook) or on the previous codebook (the others)."""

    def pairs(codes_KT: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        return (codes_KT[book - 1], codes_KT[book]) if book else (codes_KT[0, :-1], codes_KT[0, 1:])

    counts_VV = np.zeros((CODEBOOK_SIZE, CODEBOOK_SIZE))
    for codes_KT in train:
        np.add.at(counts_VV, pairs(codes_KT), 1)
    context, target = (np.concatenate(side) for side in zip(*map(pairs, valid), strict=True))
    seen_V1 = counts_VV.sum(1, keepdims=True)
    smoothed = [(counts_VV + weight * unigram_V) / (seen_V1 + weight) for weight in WEIGHTS]
    return min(-float(np.mean(np.log(probability_VV[context, target]))) for probability_VV in smoothed)


def read_curve(run: Path) -> dict[int, list[float]]:
    """Validation loss of every codebook, by step."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    curve: dict[int, list[float]] = {}
    for book in range(N_CODEBOOKS):
        for point in events.Scalars(f"valid/loss/{book}"):
            curve.setdefault(point.step, [float("nan")] * N_CODEBOOKS)[book] = round(point.value, 4)
    return dict(sorted(curve.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, help="file to keep the curve in")
    given = parser.parse_args()
    train, valid = read_split(given.corpus, "train"), read_split(given.corpus, "valid")
    unigrams = [unigram_loss(train, valid, book) for book in range(N_CODEBOOKS)]
    baselines = {
        "unigram": [round(loss, 4) for loss, _ in unigrams],
        "bigram": [round(bigram_loss(train, valid, book, unigrams[book][1]), 4) for book in range(N_CODEBOOKS)],
    }
    curve = read_curve(given.run)
    table = Table(title="Validation loss, nats per frame", title_justify="left", box=None)
    for column in ("step", "AR, codebook 1", "NAR, codebooks 2–8"):
        table.add_column(column, justify="right")
    for name, losses in [*baselines.items(), *((str(step), losses) for step, losses in curve.items())]:
        table.add_row(name, f"{losses[0]:.3f}", f"{np.mean(losses[1:]):.3f}")
    Console().print(table)
    if given.out:
        told = {"loss_per_codebook": {str(step): losses for step, losses in curve.items()}, "baselines": baselines}
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
