"""The truth of composed conversations without what cannot be heard: phrases hold pauses, which the composer counts as speech.

    python -m benchmarks.audible_truth COMPOSER SPEECH TRUTH.json OUT.json

COMPOSER is the program that made the conversations, SPEECH the folder it read. The nth turn of a person holds their nth phrase; a
listener's word is a part of one. A turn is divided where its level stays 25 dB below that of a phrase for 200 ms or more, so a
listener's "word" that is a pause of its reader counts for nothing.
"""

import argparse
import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.pauses import true_runs

LEVEL, BELOW_DB, PAUSE_S = 0.06, 25, 0.2
"""root mean square that the composer gives a phrase, how far below it nothing is heard, and the shortest pause of that kind"""
WORD_FROM_S, MOMENT = 0.5, ASR_RATE // 100

Phrases = list[NDArray[np.float32]]


def audible(piece_S: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Start and end in s of the parts of a piece [S] that can be heard."""
    moments = -(-len(piece_S) // MOMENT)
    padded = np.zeros(moments * MOMENT)
    padded[: len(piece_S)] = piece_S
    level_T = np.sqrt((padded.reshape(moments, MOMENT) ** 2).mean(axis=1))
    heard_T = level_T > LEVEL * 10 ** (-BELOW_DB / 20)
    for start, end in true_runs(~heard_T):
        heard_T[start:end] = start > 0 and end < moments and end - start < PAUSE_S * 100
    return [(start / 100, end / 100) for start, end in true_runs(heard_T).tolist()]


def piece_of(phrase_S: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """What a turn of this length holds of its phrase: all of it, or a word from its middle."""
    if abs(len(phrase_S) / ASR_RATE - seconds) < 0.002:
        return phrase_S
    return phrase_S[round(WORD_FROM_S * ASR_RATE) :][: round(seconds * ASR_RATE)]


def read_phrases(phrases: Callable[[NDArray[np.float32]], Phrases], folder: Path) -> dict[str, Phrases]:
    """The phrases of every person, in the composer's order."""
    pool: dict[str, Phrases] = {}
    for path in sorted(folder.rglob("*.flac")):
        pool.setdefault(path.stem.split("-")[0], []).extend(phrases(sf.read(path, dtype="float32")[0]))
    return pool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("composer", "speech", "truth", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("composer", args.composer)
    assert spec is not None and spec.loader is not None
    composer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(composer)
    pool = read_phrases(composer.phrases, args.speech)
    heard: dict[str, list[tuple[str, float, float]]] = {}
    turns = silent = 0
    for name, rows in json.loads(args.truth.read_text()).items():
        used: Counter[str] = Counter()
        heard[name] = []
        for person, start, end in rows:
            parts = audible(piece_of(pool[person][used[person] % len(pool[person])], end - start))
            used[person] += 1
            turns, silent = turns + 1, silent + (not parts)
            heard[name] += [(person, round(start + a, 3), round(min(end, start + b), 3)) for a, b in parts]
    args.out.write_text(json.dumps(heard))
    print(f"{turns} turns, {silent} without a sound")


if __name__ == "__main__":
    main()
