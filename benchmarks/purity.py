"""How pure the segments of conversations are, how much lone speech they keep, and how many labels a person gets.

    python -m benchmarks.purity TRUTH.json FOLDER [--limit 50]

TRUTH: {name: [[person, start_s, end_s], …]}; FOLDER: <name>.flac or .wav at 16 kHz. Only the stages diarize, segment and purity
run: what other rules reject is not counted against the yield.

A segment is impure if it holds 0.2 s or more of anyone but its main person, or of two at once. Lone speech: stretches of at least
2 s, own pauses of up to 0.5 s included, in which one person speaks alone. Shapes: T moments of 10 ms, P persons.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.audio.pauses import true_runs
from voxbeam.transforms.diarize import diarize, load_diarizer
from voxbeam.transforms.purity import reject_mixed
from voxbeam.transforms.segment import segment_speech

FOREIGN, LONE, OWN_PAUSE = 20, 200, 50
"""moments"""
Truth = Sequence[tuple[str, float, float]]


@dataclass
class Purity:
    """Sums over recordings, in moments of 10 ms."""

    accepted: int = 0
    impure: int = 0
    segments: int = 0
    impure_segments: int = 0
    lone: int = 0
    kept: int = 0
    states: Counter[str] = field(default_factory=Counter)
    """what became of the lone speech"""
    labels: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """of each person of each recording"""
    seconds: float = 0.0
    """of sound"""

    @property
    def impure_share(self) -> float:
        return self.impure / max(1, self.accepted)

    @property
    def kept_share(self) -> float:
        return self.kept / max(1, self.lone)

    @property
    def persons_with_several_labels(self) -> int:
        return sum(len(labels) > 1 for labels in self.labels.values())

    def __str__(self) -> str:
        lost = ", ".join(f"{state} {count / max(1, self.lone):.1%}" for state, count in self.states.most_common(6))
        return (
            f"kept {self.kept_share:.1%} of {self.lone / 100:.0f} s lone speech; impure {self.impure_share:.2%} of "
            f"{self.accepted / 100:.0f} s, {self.impure_segments} of {self.segments} segments; several labels: "
            f"{self.persons_with_several_labels} of {len(self.labels)} persons\n  lone speech: {lost}"
        )


def segments_of(pcm16k: NDArray[np.float32], config: CorpusConfig) -> tuple[Segment, ...]:
    """The segments of a recording after diarize, segment and purity."""
    pcm16k = pcm16k[: len(pcm16k) // 16 * 16]
    found = diarize(load_diarizer(config.diarize), pcm16k, 0, config.diarize)
    segments = segment_speech(pcm16k, 0, len(pcm16k) // 16, found.turns, found.mixed, config.segment)
    return segments if found.evidence is None else reject_mixed(segments, found.evidence, config.purity)


def add_recording(purity: Purity, name: str, truth: Truth, segments: Sequence[Segment], moments: int) -> None:
    """Adds what a recording's segments hold."""
    persons = sorted({person for person, _, _ in truth})
    active_PT = np.zeros((len(persons), moments), np.bool_)
    for person, start, end in truth:
        active_PT[persons.index(person), round(100 * start) : round(100 * end)] = True
    count_T = active_PT.sum(axis=0)
    who_T = np.where(count_T == 1, active_PT.argmax(axis=0), -1)
    state_T = np.full(moments, "no segment", object)
    for segment in segments:
        span = slice(segment.start_ms // 10, segment.end_ms // 10)
        state_T[span] = "accepted" if segment.accepted else "+".join(segment.reasons)
        if segment.accepted:
            alone = np.bincount(who_T[span][who_T[span] >= 0], minlength=len(persons))
            foreign = int(alone.sum() - alone.max() + (count_T[span] > 1).sum())
            impure = foreign >= FOREIGN or not alone.any()
            purity.accepted += span.stop - span.start
            purity.impure += impure * (span.stop - span.start)
            purity.segments += 1
            purity.impure_segments += impure
            if alone.any():
                purity.labels[name, persons[int(alone.argmax())]].add(str(segment.speaker))
    lone_T = _lone(who_T, count_T, len(persons))
    purity.lone += int(lone_T.sum())
    purity.kept += int((state_T[lone_T] == "accepted").sum())
    purity.states.update(state_T[lone_T].tolist())
    purity.seconds += moments / 100


def _lone(who_T: NDArray[np.int64], count_T: NDArray[np.int64], persons: int) -> NDArray[np.bool_]:
    lone_T = np.zeros(len(who_T), np.bool_)
    for person in range(persons):
        merged: list[list[int]] = []
        for start, end in true_runs(who_T == person).tolist():
            if merged and start - merged[-1][1] <= OWN_PAUSE and not (count_T[merged[-1][1] : start] > 0).any():
                merged[-1][1] = end
            else:
                merged.append([start, end])
        for start, end in merged:
            if end - start >= LONE:
                lone_T[start:end] |= who_T[start:end] == person
    return lone_T


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("truth", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=1_000_000)
    args = parser.parse_args()
    purity, began = Purity(), time.monotonic()
    for name, truth in list(json.loads(args.truth.read_text()).items())[: args.limit]:
        path = next(path for path in (args.folder / f"{name}.flac", args.folder / f"{name}.wav") if path.exists())
        wave = sf.read(path, dtype="float32")[0]
        add_recording(purity, name, truth, segments_of(wave, CorpusConfig()), len(wave) // 160 + 2)
    print(f"{purity}\n  {purity.seconds / (time.monotonic() - began):.0f} × real time")


if __name__ == "__main__":
    main()
