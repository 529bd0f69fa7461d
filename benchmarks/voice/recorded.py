"""Prepares recorded speech for `learn.py`: codes, phones and the times of words by Whisper, also of changed copies.

    python -m benchmarks.voice.recorded OUT.npz FILE… [--changed 2] [--speaker "^[0-9]+"] [--hold-out NAME,NAME]

A copy is another voice by another microphone: resampled, so that pitch, formants and rate move together, filtered, and half of
the time with noise. The speaker is what `--speaker` finds in a file's name, else the name. Those of --hold-out are for
validation, without copies. What Whisper finds no three words in, or words that the phone set lacks, is left out.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.phones import UnknownPhone, load_phone_set, open_phonemizer
from voxbeam.models.speech_metrics import WhisperTranscriber
from voxbeam.models.spoken_form import spoken_form
from voxbeam.synthesis.recording import Recording

from benchmarks.voice.data import pack_codes

RATE = 24_000
LONGEST_S = 16
LEVEL = 0.05
"""root mean square"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--changed", type=int, default=2, help="copies of each recording")
    parser.add_argument("--speaker", default="$^", help="regular expression")
    parser.add_argument("--hold-out", default="", type=lambda text: text.split(","))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    whisper, codec = WhisperTranscriber("embedded-base"), load_codec(EMBEDDED_WEIGHTS)
    phonemizer, phone_set = open_phonemizer("en-us"), load_phone_set("en-us")
    rng = np.random.default_rng(arguments.seed)
    rows: list[tuple[str, NDArray[np.uint8], NDArray[np.float32], NDArray[np.int16], float, bool]] = []
    for file in arguments.files:
        found = re.search(arguments.speaker, file.stem)
        speaker = found[0] if found else file.stem
        wave_S = Recording.read(file, LONGEST_S).wave_S
        wave_S = wave_S * (LEVEL / max(1e-4, float(np.sqrt((wave_S**2).mean()))))
        words = whisper.transcribe_words(wave_S)
        if len(words) < 3:
            continue
        # word by word, so that each has a time
        parts = phonemizer.phonemize([spoken_form(word.text).text for word in words])
        ids: list[int] = []
        times: list[float] = []
        try:
            for word, part in zip(words, parts, strict=True):
                phones = phone_set.encode(part)
                if phones and ids:
                    ids.append(1)
                    times.append(word.start_s)
                ids += phones
                times += [word.start_s + (word.end_s - word.start_s) * at / len(phones) for at in range(len(phones))]
        except UnknownPhone:
            continue
        first, last = max(0.0, words[0].start_s - 0.2), words[-1].end_s + 0.3
        wave_S = wave_S[round(first * RATE) : round(last * RATE)]
        held = speaker in arguments.hold_out
        for copy in range(1 if held else 1 + arguments.changed):
            ratio = float(rng.uniform(0.87, 1.15)) if copy else 1.0
            heard_S = changed(soxr.resample(wave_S, RATE * ratio, RATE), rng) if copy else wave_S
            codes = codec.encode([np.clip(heard_S, -1, 1).astype(np.float32)])[0]
            starts = ((np.array(times) - first) / ratio).astype(np.float32)
            voice = f"{speaker}#{file.stem}#{copy}" if copy else speaker  # a copy shares its voice with no other recording
            rows.append((voice, np.array(ids, np.uint8), starts, codes, (words[-1].end_s - first) / ratio, held))
    np.savez_compressed(
        arguments.out,
        speakers=np.array([row[0] for row in rows]),
        phone_counts=np.array([len(row[1]) for row in rows]),
        phones=np.concatenate([row[1] for row in rows]),
        times=np.concatenate([row[2] for row in rows]).astype(np.float16),
        frames=np.array([row[3].shape[1] for row in rows]),
        codes=pack_codes(np.concatenate([row[3] for row in rows], 1).astype(np.int64)),
        ends=np.array([row[4] for row in rows], np.float32),
        held=np.array([row[5] for row in rows]),
    )
    print(f"{len(rows)} of {len(arguments.files)} recordings and their copies, {arguments.out.stat().st_size / 1e6:.1f} MB")


def changed(wave_S: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """The sound by another microphone, and half of the time with noise."""
    size = len(wave_S)
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    octave = np.log2(np.maximum(frequency, 50) / 1_000)
    gain = rng.uniform(-1.5, 1.5) * octave
    for _ in range(3):
        gain = gain + rng.uniform(-5, 5) * np.exp(-(((octave - rng.uniform(-3, 3)) / rng.uniform(0.3, 1)) ** 2))
    sound = np.fft.irfft(np.fft.rfft(wave_S) * 10 ** (gain / 20), size)
    sound *= np.sqrt((wave_S**2).mean() / max(1e-12, (sound**2).mean()))
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(rng.standard_normal(size)) * (frequency / frequency[-1] + 0.01) ** -rng.uniform(0, 1)
        noise = np.fft.irfft(spectrum, size)
        sound += noise * np.sqrt((sound**2).mean() / (noise**2).mean()) * 10 ** (-rng.uniform(25, 45) / 20)
    return sound


if __name__ == "__main__":
    main()
