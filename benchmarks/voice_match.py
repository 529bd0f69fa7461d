"""How often another person's prompt passes for an enrolled voice, and how often one's own does not (safety/sounds.py).

    python -m benchmarks.voice_match FOLDER

FOLDER has recordings named `<speaker>-….flac` (LibriSpeech) anywhere below it. Of a speaker with several, the first is enrolled
whole, and prompts are the first three seconds of the others. Of a speaker with one, its last three seconds are the prompt and
what comes before is enrolled: a prompt of the same session, counted apart. Two-person prompts are half of each.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.safety.sounds import MIN_ENROLMENT_S, MIN_PART_SIMILARITY, MIN_SIMILARITY, Voiceprint, enrolled_voice
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording

PROMPT = 3 * CODEC_RATE
GAP_S = 0.5
Scores = list[tuple[float, float]]
"""of each comparison: the least similar window, and the least similar part"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speakers", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(arguments.folder.rglob("*.flac")):
        files[path.name.split("-")[0]].append(path)
    voices, waves, prints, several = {}, {}, {}, set()
    for speaker, paths in list(files.items())[: arguments.speakers]:
        first, *rest = (Recording.read(path).wave_S for path in paths)
        if len(first) < (MIN_ENROLMENT_S + GAP_S) * CODEC_RATE + PROMPT:
            continue
        if rest:
            several.add(speaker)
        voices[speaker] = enrolled_voice(first if rest else first[: -PROMPT - round(GAP_S * CODEC_RATE)])
        waves[speaker] = [wave[:PROMPT] for wave in rest] or [first[-PROMPT:]]
        prints[speaker] = [Voiceprint(wave) for wave in waves[speaker]]
    own: Scores
    same_session: Scores
    others: Scores
    two: Scores
    own, same_session, others, two = [], [], [], []
    names = list(voices)
    for number, speaker in enumerate(names):
        for other in names:
            found = [scores(one, voices[speaker]) for one in prints[other]]
            (others if other != speaker else own if speaker in several else same_session).extend(found)
        guest = names[(number + 1) % len(names)]
        half = np.concatenate([waves[speaker][0][: PROMPT // 2], waves[guest][0][PROMPT // 2 :]])
        two.append(scores(Voiceprint(half), voices[speaker]))
    kinds = {"own": own, "own, same session": same_session, "others": others, "two people": two}
    print(f"{len(names)} speakers; " + ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items()))
    print("least similar window of others, highest 10:", sorted((round(one[0], 2) for one in others), reverse=True)[:10])
    candidates = [(whole, whole - less) for whole in np.arange(0.36, 0.72, 0.04) for less in (0.2, 0.15, 0.1, 0.05)]
    for whole, part in [(MIN_SIMILARITY, MIN_PART_SIMILARITY), *candidates]:
        passed = {k: [w >= whole and p >= part for w, p in found] for k, found in kinds.items()}
        print(f"{whole:.2f} {part:.2f}: " + ", ".join(f"{k} admitted {np.mean(v):.3%} ({sum(v)})" for k, v in passed.items()))


def scores(one: Voiceprint, voice_E: NDArray[np.float32]) -> tuple[float, float]:
    """The least similar window, and the least similar part."""
    return one.similarity(voice_E), float((one.parts_NE @ voice_E).min())


if __name__ == "__main__":
    main()
