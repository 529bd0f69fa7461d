"""How often another person's prompt passes for an enrolled voice, and how often one's own does not (safety/sounds.py).

    python -m benchmarks.voice_match FOLDER [--seconds 3,5,7]

FOLDER has recordings named `<speaker>-….flac` (LibriSpeech) anywhere below it. Of a speaker with several, the first is enrolled
whole, and prompts are the first seconds of the others. Of a speaker with one, its last seconds are the prompt and what comes
before is enrolled, five seconds at least: a prompt of the same session, counted apart, and only where nothing of it was enrolled.
Two-person prompts are half of each; own prompts are also played backward. Intervals (95 %) are by resampling of speakers, on
both sides of a comparison; where nothing was wrongly decided, the bound is that of three in the number of speakers (the prompts
of one speaker are alike).

Three tables: the rates at the threshold of the product; at other thresholds; and at one that half of the speakers give, on the
other half, both ways round. It is the least at which 95 % of 300 resamplings of those speakers admit at most 0.1 % of others.

Shapes: N windows or parts, V enrolled voices, E = 192.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.safety.sounds import MIN_ENROLMENT_S, MIN_PART_SIMILARITY, MIN_SIMILARITY, Voiceprint, enrolled_voice
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording

GAP_S = 0.5
PART_MARGIN = round(MIN_SIMILARITY - MIN_PART_SIMILARITY, 2)
MAX_FAR = 0.001
DRAWS = 300
OTHERS, OWN_OTHER, OWN_SAME, TWO = "others", "own, other recording", "own, same recording", "two people"
BACKWARD = "own, played backward"
OTHER_THRESHOLDS = (0.40, 0.44, 0.48, 0.52, 0.56, 0.60)
Wave = NDArray[np.float32]
Counts = NDArray[np.int64]


@dataclass
class Comparisons:
    """Prompts against enrolled voices: whose is which, and the score, which passes from `MIN_SIMILARITY` on."""

    enrolled: list[int] = field(default_factory=list)
    prompted: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, enrolled: int, prompted: int, score: float) -> None:
        self.enrolled.append(enrolled)
        self.prompted.append(prompted)
        self.scores.append(score)

    def admitted(self, least: float, drawn: Counts | None = None) -> float:
        """The share that passes, each weighted by how often its two speakers were drawn."""
        passed = np.array(self.scores) >= least
        if drawn is None:
            return float(passed.mean())
        each = drawn[self.enrolled] * np.where(np.equal(self.enrolled, self.prompted), 1, drawn[self.prompted])
        return float((passed * each).sum() / each.sum()) if each.any() else np.nan

    def of(self, speakers: set[int]) -> Comparisons:
        kept = [i for i in range(len(self.scores)) if self.enrolled[i] in speakers and self.prompted[i] in speakers]
        chosen = Comparisons()
        for i in kept:
            chosen.add(self.enrolled[i], self.prompted[i], self.scores[i])
        return chosen


def score(one: Voiceprint, voices_VE: NDArray[np.float32]) -> NDArray[np.float32]:
    """By voice, the least similar window, or the least similar part by what less is asked of it: `is_voice` as a number [V].

    -1 where the sound is taken for one that is played backward.
    """
    windows_V, parts_V = (one.windows_NE @ voices_VE.T).min(0), (one.parts_NE @ voices_VE.T).min(0)
    backward_V = np.array([one.is_backward(voice_E) for voice_E in voices_VE])
    return np.where(backward_V, -1, np.minimum(windows_V, parts_V + PART_MARGIN)).astype(np.float32)


def compare(recordings: dict[str, list[Wave]], seconds: float) -> dict[str, Comparisons]:
    """All comparisons with prompts of one length, by kind."""
    length, least = round(seconds * CODEC_RATE), round(MIN_ENROLMENT_S * CODEC_RATE)
    gap = round(GAP_S * CODEC_RATE)
    voices, prompts, disjoint, single = [], [], [], []
    for first, *rest in recordings.values():
        voices.append(enrolled_voice(first if rest else first[: max(least, len(first) - length - gap)]))
        prompts.append([wave[:length] for wave in rest if len(wave) >= length] if rest else [first[-length:]])
        disjoint.append(bool(rest) or len(first) >= least + gap + length)
        single.append(not rest)
    voices_VE = np.stack(voices)
    found = {kind: Comparisons() for kind in (OTHERS, OWN_OTHER, OWN_SAME, TWO, BACKWARD)}
    for prompted, waves in enumerate(prompts):
        for wave in waves:
            for enrolled, value in enumerate(score(Voiceprint(wave), voices_VE)):
                if enrolled != prompted:
                    found[OTHERS].add(enrolled, prompted, value)
                elif disjoint[prompted]:
                    found[OWN_SAME if single[prompted] else OWN_OTHER].add(enrolled, prompted, value)
            found[BACKWARD].add(prompted, prompted, float(score(Voiceprint(wave[::-1].copy()), voices_VE)[prompted]))
        guests = prompts[(prompted + 1) % len(prompts)]
        if waves and guests:
            half = np.concatenate([waves[0][: length // 2], guests[0][length // 2 :]])
            found[TWO].add(prompted, prompted, float(score(Voiceprint(half), voices_VE)[prompted]))
    return found


def draws(speakers: int) -> list[Counts]:
    """How often each speaker is in each of `DRAWS` resamplings."""
    rng = np.random.default_rng(0)
    return [np.bincount(rng.integers(speakers, size=speakers), minlength=speakers) for _ in range(DRAWS)]


def row(kind: str, found: Comparisons, least: float, speakers: int) -> str:
    """A line of the table: what was admitted (of others) or refused (of one's own), with its interval."""
    if not found.scores:
        return f"{kind}: none"
    wrong_is_admitted = kind in (OTHERS, TWO, BACKWARD)

    def wrong(drawn: Counts | None = None) -> float:
        share = found.admitted(least, drawn)
        return share if wrong_is_admitted else 1 - share

    low, high = np.nanpercentile([wrong(drawn) for drawn in draws(speakers)], [2.5, 97.5])
    if wrong() == 0:
        high = min(1.0, 3 / len(set(found.prompted)))
    count = round(wrong() * len(found.scores))
    verb = "admitted" if wrong_is_admitted else "refused"
    return f"{kind}: {verb} {count} of {len(found.scores)}: {wrong():.3%} ({low:.3%} to {high:.3%})"


def least_threshold(others: Comparisons, speakers: int) -> float:
    """The least threshold, in hundredths, at which 95 % of resamplings of the speakers admit at most `MAX_FAR` of others."""
    weights = draws(speakers)
    for hundredths in range(30, 100):
        least = hundredths / 100
        if np.nanpercentile([others.admitted(least, drawn) for drawn in weights], 95) <= MAX_FAR:
            return least
    return 1.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", default="3,5,7", help="lengths of prompts")
    parser.add_argument("--speakers", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(arguments.folder.rglob("*.flac")):
        files[path.name.split("-")[0]].append(path)
    recordings = {s: [Recording.read(path).wave_S for path in paths] for s, paths in list(files.items())[: arguments.speakers]}
    recordings = {s: waves for s, waves in recordings.items() if len(waves[0]) >= (MIN_ENROLMENT_S + GAP_S + 3) * CODEC_RATE}
    speakers = len(recordings)
    print(f"{speakers} speakers, of which {sum(len(waves) > 1 for waves in recordings.values())} have several recordings")
    for seconds in map(float, arguments.seconds.split(",")):
        found = compare(recordings, seconds)
        print(f"\nprompts of {seconds:g} s, threshold {MIN_SIMILARITY:g}")
        for kind, comparisons in found.items():
            print("  " + row(kind, comparisons, MIN_SIMILARITY, speakers), flush=True)
        print("  threshold: others admitted; own refused, of the same recording, of another")
        for least in OTHER_THRESHOLDS:
            own = [1 - found[kind].admitted(least) if found[kind].scores else np.nan for kind in (OWN_SAME, OWN_OTHER)]
            print(f"    {least:.2f}: {found[OTHERS].admitted(least):.3%}; {own[0]:.2%}, {own[1]:.2%}")
        halves = (set(range(0, speakers, 2)), set(range(1, speakers, 2)))
        for one, other in (halves, halves[::-1]):
            least = least_threshold(found[OTHERS].of(one), speakers)
            print(f"  threshold of one half for {MAX_FAR:.1%} of others: {least:.2f}; on the {len(other)} speakers of the other")
            for kind, comparisons in found.items():
                print("    " + row(kind, comparisons.of(other), least, speakers), flush=True)


if __name__ == "__main__":
    main()
