"""Recall and false alarms of `edge_jump` and `spectral_pace` on planted cuts and sped-up phrases, by half of the readers.

    python -m benchmarks.word_edges LIBRISPEECH [--noise 0] [--clean FOLDER …]

The limits of the configuration were chosen on the first half of the readers (every second one of those that
tools/plant_defects.py uses); the second half is what counts. Phrases stand between pauses of 150 ms of noise at −70 dB. With
--clean, alarms on what lies between pauses of 250 ms in the first minute of the recordings of other folders, which nobody cut.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

from tools import defect_effects as effects
from tools.defect_effects import Wave
from tools.plant_defects import FLOOR, read_audio, read_readers
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.pauses import frame_levels_db, pause_mask, true_runs
from voxbeam.transforms.audio.word_edges import edge_jump, spectral_pace

PHRASES, SPED_UP = 8, 2
"""of each reader, at most"""
CUTS = ("cut at the beginning", "cut at the end", "a piece missing inside")
"""by the kind that tools/defect_effects.py: cut_word draws"""


class _Drawn:
    """A generator that draws one kind of cut."""

    def __init__(self, kind: int, rng: np.random.Generator) -> None:
        self._kind, self.uniform = kind, rng.uniform

    def integers(self, _: int) -> int:
        return self._kind


def cases(wave_S: Wave, number: int, rng: np.random.Generator) -> Iterator[tuple[str, Wave]]:
    """A phrase as it is and with each defect."""
    yield "whole", wave_S
    for kind, name in enumerate(CUTS):
        yield name, effects.cut_word(wave_S, _Drawn(kind, rng))[0]  # type: ignore[arg-type]
    if number < SPED_UP:
        yield "sped up", effects.speed_up(wave_S, rng)[0]


def between_pauses(wave_S: Wave, noise: float, rng: np.random.Generator) -> Wave:
    pauses = [rng.normal(0, FLOOR, ASR_RATE * 150 // 1000).astype(np.float32) for _ in range(2)]
    padded_S = np.concatenate([pauses[0], wave_S, pauses[1]])
    return (padded_S + rng.normal(0, noise, len(padded_S))).astype(np.float32)


def between_long_pauses(wave_S: Wave) -> Iterator[Wave]:
    """What lies between pauses of 250 ms and more, of 1.2 to 15 s, with 120 ms of them on either side."""
    quiet = pause_mask(frame_levels_db(wave_S, ASR_RATE))
    for start, end in true_runs(quiet):
        quiet[start:end] = end - start >= 25
    for start, end in true_runs(~quiet).tolist():
        if 120 <= end - start <= 1500:
            yield wave_S[max(0, start - 12) * 160 : (end + 12) * 160]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("librispeech", type=Path)
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of noise to add (default: none)")
    parser.add_argument("--clean", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    rng, limits = np.random.default_rng(5), FilterConfig()
    assert limits.max_edge_jump is not None and limits.max_spectral_pace is not None
    found = defaultdict[tuple[int, str], list[tuple[bool, bool]]](list)
    for reader, phrases in enumerate(read_readers(args.librispeech).values()):
        for number, phrase in enumerate(phrases[:PHRASES]):
            for name, wave_S in cases(phrase.wave_S, number, rng):
                sound_S = between_pauses(wave_S, args.noise, rng)
                cut, fast = edge_jump(sound_S, ASR_RATE) or 0.0, spectral_pace(sound_S, ASR_RATE) or 0.0
                found[reader % 2, name].append((cut > limits.max_edge_jump, fast > limits.max_spectral_pace))
    print("half       phrases                   n   edge_jump  spectral_pace  above the limit")
    for (half, name), flags in sorted(found.items()):
        cut, fast = np.mean(flags, axis=0)
        print(f"{'second' if half else 'first':8} {name:24} {len(flags):4} {cut:10.1%} {fast:13.1%}")
    for folder in args.clean:
        files = sorted(path for path in folder.glob("*") if path.suffix in (".ogg", ".opus", ".flac", ".wav"))[:60]
        waves = (read_audio(path, 0.0, min(60.0, sf.info(path).duration)) for path in files)
        sounds = [sound_S for wave_S in waves for sound_S in between_long_pauses(wave_S)]
        cuts = np.mean([(edge_jump(sound_S, ASR_RATE) or 0.0) > limits.max_edge_jump for sound_S in sounds])
        hurried = np.mean([(spectral_pace(sound_S, ASR_RATE) or 0.0) > limits.max_spectral_pace for sound_S in sounds])
        print(f"clean    {folder.name:24} {len(sounds):4} {cuts:10.1%} {hurried:13.1%}")


if __name__ == "__main__":
    main()
