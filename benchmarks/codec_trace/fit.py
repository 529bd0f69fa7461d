"""Fits the classifier of models/codec_trace.py on prepared features, and measures it on voices that it never heard.

    python -m benchmarks.codec_trace.fit PREPARED WEIGHTS

PREPARED is what `prepare.py` wrote; WEIGHTS is written. Ridge regression on standardized features: copies by the codec against
all else of the part `train`; then scale and offset on the part `calibrate` make its sums log-likelihood ratios. The tables are of
the part `test`: copies and speech of the voice that ships against recorded speech (EER, minDCF, CLLR, with the 95 % interval of
resampled voices); what is missed after which step of the chain; and how many windows and whole files get which score.

Shapes: N windows, D features.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec_trace import CodecTrace
from voxbeam.safety.codec_trace import REFUSED

from benchmarks.codec_trace.metrics import Scores, calibrate, cllr, eer, interval, min_dcf

RECORDED = ("librispeech", "test-other", "ami", "orders")
COPIES, SHIPPED = "codec", "voice"
RIDGE = 0.1
SHARES = {"codec": 0.5, "recorded": 0.35, "made": 0.15}
"""of the weight in the fit"""
Row = dict[str, str]
Chosen = NDArray[np.bool_]


def class_of(row: Row) -> str:
    return "codec" if row["kind"] == COPIES else "recorded" if row["kind"] in RECORDED else "made"


def weights(rows: list[Row]) -> Scores:
    """Weights [N] of windows: the shares of the classes, and within each kinds by the root of their numbers."""
    kinds: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        kinds[class_of(row)][row["kind"]] += 1
    roots = {name: sum(np.sqrt(count) for count in counts.values()) for name, counts in kinds.items()}
    found = [SHARES[class_of(row)] / roots[class_of(row)] / np.sqrt(kinds[class_of(row)][row["kind"]]) for row in rows]
    return np.array(found) / np.sum(found)


def fit(features_ND: NDArray[np.float32], rows: list[Row]) -> CodecTrace:
    """The classifier before it is calibrated."""
    weight_N = weights(rows)
    mean_D = weight_N @ features_ND
    scale_D = np.sqrt(weight_N @ (features_ND - mean_D) ** 2) + 1e-6
    bare = trace_of(mean_D, scale_D, np.zeros_like(mean_D), (1.0, 0.0))
    x_ND = bare.standardized(features_ND).astype(np.float64)
    target_N = np.where([class_of(row) == "codec" for row in rows], 1.0, -1.0)
    gram_DD = x_ND.T @ (weight_N[:, None] * x_ND) + RIDGE * np.eye(x_ND.shape[1])
    weight_D: Scores = np.asarray(np.linalg.solve(gram_DD, x_ND.T @ (weight_N * target_N)), np.float64)
    return trace_of(mean_D, scale_D, weight_D, (1.0, 0.0))


def trace_of(mean_D: Scores, scale_D: Scores, weight_D: Scores, calibration: tuple[float, float]) -> CodecTrace:
    return CodecTrace(*(np.asarray(value, np.float32) for value in (mean_D, scale_D, weight_D, calibration)))


def groups(rows: list[Row], scores_N: Scores, chosen: Chosen) -> list[Scores]:
    """Scores by voice; by file where there is one voice."""
    places = np.flatnonzero(chosen)
    key = "voice" if len({rows[place]["voice"] for place in places}) > 1 else "file"
    found: dict[str, list[float]] = defaultdict(list)
    for place in places:
        found[rows[place][key]].append(scores_N[place])
    return [np.array(values) for values in found.values()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("weights", type=Path)
    arguments = parser.parse_args()
    files = [np.load(path) for path in sorted(arguments.prepared.glob("*.npz"))]
    features_ND = np.concatenate([file["features_ND"] for file in files])
    rows: list[Row] = [json.loads(row) for file in files for row in file["rows"]]

    def of(wanted: Callable[[Row], bool]) -> Chosen:
        return np.array([wanted(row) for row in rows])

    train, held = of(lambda row: row["part"] == "train"), of(lambda row: row["part"] == "calibrate")
    trace = fit(features_ND[train], [row for row, chosen in zip(rows, train, strict=True) if chosen])
    codec = of(lambda row: class_of(row) == "codec")
    raw_N = trace.scores(features_ND).astype(np.float64)
    calibration = calibrate(raw_N[held & codec], raw_N[held & ~codec])
    trace = replace(trace, calibration=np.array(calibration, np.float32))
    trace.save(arguments.weights)
    trace = CodecTrace.load(arguments.weights)
    scores_N = trace.scores(features_ND).astype(np.float64)
    print(f"{train.sum()} windows of training, {held.sum()} of calibration: {calibration[0]:.2f} × sum {calibration[1]:+.2f}")
    test = of(lambda row: row["part"] == "test")
    recorded = test & of(lambda row: class_of(row) == "recorded" and row["kind"] != "orders")
    voices = len({row["voice"] for row, chosen in zip(rows, recorded, strict=True) if chosen})
    print(f"\nagainst {recorded.sum()} recorded windows of {voices} voices\n")
    print("| | windows | voices | EER | minDCF | CLLR |\n|---|---|---|---|---|---|")
    rates = sorted({row["how"] for row in rows if row["kind"] == COPIES})
    kinds = {"codec, all": codec} | {rate: np.array([row["how"] == rate for row in rows]) for rate in rates}
    kinds[SHIPPED] = of(lambda row: row["kind"] == SHIPPED)
    negative = groups(rows, scores_N, recorded)
    for name, chosen in kinds.items():
        if (found := test & chosen).any():
            wanted = groups(rows, scores_N, found)
            cells = [f"{found.sum()}", f"{len(wanted)}"]
            for measure, form in ((eer, "{:.1%}"), (min_dcf, "{:.3f}"), (cllr, "{:.3f}")):
                low, high = interval(measure, wanted, negative)
                cells.append(
                    f"{form.format(measure(scores_N[found], scores_N[recorded]))} ({form.format(low)}–{form.format(high)})"
                )
            print(f"| {name} | {' | '.join(cells)} |".replace("%", " %"))
    by_chain(rows, scores_N, test & codec, recorded)
    by_kind(rows, scores_N, test)


def by_chain(rows: list[Row], scores_N: Scores, copies: Chosen, recorded: Chosen) -> None:
    print("\n| chain has | copies missed (score below 0) | recordings suspected |\n|---|---|---|")
    steps = {"nothing but level": "", "room": "room", "noise": "noise", "filter": "filter", "MP3": "mp3", "Opus": "opus"}
    for title, step in steps.items():
        has = np.array([step in row["chain"] if step else row["chain"] == "none" for row in rows])
        cells = [(scores_N[has & copies] < 0), (scores_N[has & recorded] >= 0)]
        print(f"| {title} | " + " | ".join(f"{wrong.sum()} of {len(wrong)}" for wrong in cells) + " |")


def by_kind(rows: list[Row], scores_N: Scores, test: Chosen) -> None:
    """Shares of windows and of files, by the mean of their windows, from each limit on."""
    limits = (0.0, REFUSED)
    print("\n| test windows of | windows | " + " | ".join(f"≥ {limit:g}" for limit in limits), end="")
    print(" | files | " + " | ".join(f"≥ {limit:g}" for limit in limits) + " |\n|" + "---|" * (3 + 2 * len(limits)))
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, score, chosen in zip(rows, scores_N, test, strict=True):
        if chosen:
            found[row["kind"]][f"{row['of']}/{row['file']}"].append(score)
    for kind, files in sorted(found.items()):
        windows, means = np.concatenate([*map(np.array, files.values())]), np.array([np.mean(each) for each in files.values()])
        cells = [f"{len(windows)}", *(f"{(windows >= limit).sum()}" for limit in limits)]
        cells += [f"{len(means)}", *(f"{(means >= limit).sum()}" for limit in limits)]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
