"""What of a prompt beside its voice is kept in what is said: the room, noise, the line, pitch, rate and level.

    python -m benchmarks.voice.kept embedded OUT.jsonl PROMPT.flac ... [--sentences 3]

Each prompt (its first three seconds, cut after a whole word) is used as it is, and after each of `CHANGES` to it, with the same
texts and seed. A quantity is measured in the prompt, in the codec's resynthesis of the prompt, and in what is said. A change
of it in the prompt is kept by the share that is found in what is said. There is no free emotional speech here, so manner is
changed by signal processing: pitch (formants move with it), rate and level. Pairs that are in OUT.jsonl are not spoken again;
`--table` only reads it.

Shapes: S samples at 24 kHz, N frames.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.signal
import torch
import torchaudio.functional as AF
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import WhisperTranscriber
from voxbeam.models.threads import pin_threads
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.whole_words import whole_words
from voxbeam.transforms.audio.noise_and_clipping import snr_db
from voxbeam.transforms.audio.signal_quality import bandwidth_hz, loudness_lufs

from benchmarks.voice.consent import gate_of_sounds

RATE = 24_000
HOP = RATE // 100
Wave = NDArray[np.float32]
SENTENCES = (
    "The boy was there when the sun rose.",
    "He opened the window to let in some fresh air.",
    "They climbed the mountain before breakfast.",
)
"""kept out of what the voice that ships learned from"""


def room(rt60: float) -> Callable[[Wave], Wave]:
    """A sound in a room: direct sound, and from 2 ms on noise of the same energy that decays by 60 dB in `rt60` seconds."""

    def change(wave_S: Wave) -> Wave:
        t = np.arange(round(rt60 * RATE)) / RATE
        tail = np.random.default_rng(7).normal(size=len(t)) * 10 ** (-3 * t / rt60)
        tail[: RATE // 500] = 0
        answer = tail / np.sqrt(np.square(tail).sum())
        answer[0] = 1.0
        return level_of(scipy.signal.fftconvolve(wave_S, answer)[: len(wave_S)], wave_S)

    return change


def noise(snr: float) -> Callable[[Wave], Wave]:
    """Steady noise with the spectrum of the sound itself, `snr` dB below it."""

    def change(wave_S: Wave) -> Wave:
        spectrum = np.abs(np.fft.rfft(wave_S))
        phase = np.random.default_rng(8).uniform(0, 2 * np.pi, len(spectrum))
        hiss = np.fft.irfft(scipy.ndimage.uniform_filter1d(spectrum, 200) * np.exp(1j * phase), len(wave_S))
        return (wave_S + level_of(hiss, wave_S) * 10 ** (-snr / 20)).astype(np.float32)

    return change


def line(hertz: float) -> Callable[[Wave], Wave]:
    """Nothing above a frequency."""
    low = scipy.signal.butter(10, hertz, fs=RATE, output="sos")
    return lambda wave_S: scipy.signal.sosfiltfilt(low, wave_S).astype(np.float32)


def pitch(semitones: int) -> Callable[[Wave], Wave]:
    return lambda wave_S: level_of(AF.pitch_shift(torch.from_numpy(wave_S), RATE, semitones).numpy(), wave_S)


def rate(factor: float) -> Callable[[Wave], Wave]:
    """The same speech, faster by a factor, at its pitch."""

    def change(wave_S: Wave) -> Wave:
        window = torch.hann_window(1024)
        spectrum = torch.stft(torch.from_numpy(wave_S), 1024, 256, window=window, return_complex=True)
        advance = torch.linspace(0, np.pi * 256, 513)[:, None]
        stretched = torch.istft(AF.phase_vocoder(spectrum, factor, advance), 1024, 256, window=window)
        return level_of(stretched.numpy(), wave_S)

    return change


def level(decibels: float) -> Callable[[Wave], Wave]:
    return lambda wave_S: (wave_S * 10 ** (decibels / 20)).astype(np.float32)


def level_of(changed: NDArray[np.floating], wave_S: Wave) -> Wave:
    """A sound at the level of another."""
    gain = np.sqrt(np.square(wave_S).mean() / max(1e-12, float(np.square(changed).mean())))
    return (changed * gain).astype(np.float32)


CHANGES: dict[str, tuple[str, Callable[[Wave], Wave]]] = {
    "room, RT60 0.4 s": ("decay", room(0.4)),
    "room, RT60 1 s": ("decay", room(1.0)),
    "noise, SNR 10 dB": ("snr", noise(10)),
    "line, 3.4 kHz": ("bandwidth", line(3400)),
    "pitch, 3 semitones up": ("pitch", pitch(3)),
    "pitch, 3 semitones down": ("pitch", pitch(-3)),
    "rate, 1.25 times": ("duration", rate(1.25)),
    "rate, 0.8 times": ("duration", rate(0.8)),
    "level, 12 dB lower": ("level", level(-12)),
}
"""what is done to a prompt, and the quantity that it changes"""
PLAIN = "as it is"
FEWEST = 5
"""prompts whose resampling tells anything"""
UNITS = {"decay": "s", "snr": "dB", "bandwidth": "Hz", "pitch": "semitones", "duration": "log2", "level": "dB"}


def quantities(wave_S: Wave) -> dict[str, float]:
    return {
        "decay": decay_s(wave_S),
        "snr": snr_db(wave_S, RATE),
        "bandwidth": bandwidth_hz(wave_S, RATE),
        "pitch": median_pitch(wave_S),
        "duration": float(np.log2(len(wave_S) / RATE)),
        "level": loudness_lufs(wave_S, RATE),
    }


def decay_s(wave_S: Wave) -> float:
    """How fast sound dies away where it does: the median over falls of the level by 10 dB or more of the time for 60 dB.

    In a room it is no faster than the room; in a dry sound it is that of the voice. NaN without such a fall.
    """
    power_N = np.square(frames(wave_S, 2 * HOP)).mean(axis=1)
    level_N = 10 * np.log10(power_N + 1e-9)
    level_N = np.convolve(level_N, np.ones(3) / 3, "valid")
    found, start = [], 0
    for n in range(1, len(level_N) + 1):
        if n < len(level_N) and level_N[n] < level_N[n - 1]:
            continue
        fall = level_N[start] - level_N[n - 1]
        if fall >= 10 and level_N[start] > level_N.max() - 25:
            found.append(60 * (n - 1 - start) / 100 / fall)
        start = n
    return float(np.median(found)) if found else float("nan")


def median_pitch(wave_S: Wave) -> float:
    """Median fundamental frequency of voiced frames in semitones above 100 Hz, by autocorrelation between 60 and 400 Hz."""
    part_NS = frames(wave_S, 4 * HOP)
    part_NS = part_NS - part_NS.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(part_NS * np.hanning(part_NS.shape[1]), 2 * part_NS.shape[1])
    similar = np.fft.irfft(np.square(np.abs(spectrum)))[:, : part_NS.shape[1]]
    window = np.fft.irfft(np.square(np.abs(np.fft.rfft(np.hanning(part_NS.shape[1]), 2 * part_NS.shape[1]))))
    similar = similar / np.maximum(similar[:, :1], 1e-9) / (window[: part_NS.shape[1]] / window[0] + 1e-3)
    shortest, longest = RATE // 400, RATE // 60
    best_N = similar[:, shortest:longest].argmax(axis=1) + shortest
    loud_N = np.square(part_NS).mean(axis=1)
    voiced_N = (similar[np.arange(len(best_N)), best_N] > 0.6) & (loud_N > 0.01 * np.percentile(loud_N, 95))
    return float(np.median(12 * np.log2(RATE / best_N[voiced_N] / 100))) if voiced_N.any() else float("nan")


def frames(wave_S: Wave, length: int) -> NDArray[np.float64]:
    padded = np.pad(wave_S.astype(np.float64), (0, max(0, length - len(wave_S))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP]


def speak(run: str, out: Path, paths: list[Path], sentences: int) -> None:
    """Appends a row for every prompt, change and sentence that is not there yet."""
    done = {(row["prompt"], row["change"]) for row in read(out)} if out.exists() else set()
    transcriber = WhisperTranscriber()
    speaker: Synthesizer | None = None
    for path in paths:
        dry_S = Prompt.read(path).wave_S
        if {(path.stem, change) for change in (PLAIN, *CHANGES)} <= done:
            continue
        cut_S, text = whole_words(dry_S, transcriber.transcribe_words(dry_S))
        pin_threads()
        changes: dict[str, Callable[[Wave], Wave]] = {PLAIN: lambda wave_S: wave_S}
        changes |= {name: change for name, (_, change) in CHANGES.items()}
        prompts = {name: Prompt(change(cut_S), text) for name, change in changes.items()}
        gate = gate_of_sounds(prompt.wave_S for prompt in prompts.values())
        for name, prompt in prompts.items():
            if (path.stem, name) in done:
                continue
            if speaker is None:
                speaker = Synthesizer(run, prompt, transcriber=transcriber, sampling=SamplingConfig(), consent=gate)
            speaker.consent = gate
            voice = speaker.in_voice_of(prompt)
            coded_S = voice.codec.decode([voice.prompt_KP])[0]
            made = voice.synthesize(SENTENCES[:sentences])
            row: dict[str, Any] = {
                "prompt": path.stem,
                "change": name,
                "text": text,
                "in_prompt": quantities(prompt.wave_S),
                "in_codec": quantities(coded_S),
                "said": [quantities(one.wave_S) for one in made],
                "wer": [one.wer for one in made],
                "likeness": [one.speaker_similarity for one in made],
                "finished": [one.finished for one in made],
            }
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{path.stem}, {name}: {errors([row])} word errors", flush=True)


def read(out: Path) -> list[dict]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def table(rows: list[dict]) -> str:
    """Differences from the prompt as it is, means over prompts; intervals (95 %) by resampling of prompts."""
    by = {(row["prompt"], row["change"]): row for row in rows}
    names = sorted({row["prompt"] for row in rows})
    lines = [
        "| change to the prompt | prompts | quantity | in the prompt | in the codec's resynthesis | in what is said (95 %) "
        "| share kept (95 %) | word errors | likeness to the changed prompt |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    plain = [by[name, PLAIN] for name in names]
    lines.append(f"| none | {len(plain)} | | | | | | {errors(plain)} | {likeness(plain)} |")
    for change, (quantity, _) in CHANGES.items():
        pairs = [(by[name, change], by[name, PLAIN]) for name in names if (name, change) in by]
        if not pairs:
            continue
        prompt, codec = (
            np.array([a[place][quantity] - b[place][quantity] for a, b in pairs]) for place in ("in_prompt", "in_codec")
        )
        said = np.array([mean(a["said"], quantity) - mean(b["said"], quantity) for a, b in pairs])
        changed = [a for a, _ in pairs]
        lines.append(
            f"| {change} | {len(pairs)} | {quantity}, {UNITS[quantity]} | {np.nanmean(prompt):+.2f} | {np.nanmean(codec):+.2f} | "
            f"{np.nanmean(said):+.2f} ({interval(said)}) | {shares(prompt, said)} | {errors(changed)} | {likeness(changed)} |"
        )
    return "\n".join(lines)


def mean(said: list[dict], quantity: str) -> float:
    return float(np.nanmean([one[quantity] for one in said]))


def interval(values: NDArray[np.float64]) -> str:
    if len(values) < FEWEST:
        return f"{len(values)} prompts: no interval"
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.nanpercentile(np.nanmean(drawn, axis=1), [2.5, 97.5])
    return f"{low:+.2f} to {high:+.2f}"


def shares(prompt: NDArray[np.float64], said: NDArray[np.float64]) -> str:
    if len(said) < FEWEST:
        return f"{np.nanmean(said) / np.nanmean(prompt):.2f} ({len(said)} prompts: no interval)"
    chosen = np.random.default_rng(0).integers(0, len(said), (2000, len(said)))
    low, high = np.percentile(np.nanmean(said[chosen], axis=1) / np.nanmean(prompt[chosen], axis=1), [2.5, 97.5])
    return f"{np.nanmean(said) / np.nanmean(prompt):.2f} ({low:.2f} to {high:.2f})"


def errors(rows: list[dict]) -> str:
    return f"{np.mean([row['wer'] for row in rows]):.0%}"


def likeness(rows: list[dict]) -> str:
    return f"{np.mean([row['likeness'] for row in rows]):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("prompts", type=Path, nargs="*")
    parser.add_argument("--sentences", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    pin_threads()
    if not arguments.table:
        speak(arguments.run, arguments.out, arguments.prompts, arguments.sentences)
    print(table(read(arguments.out)))


if __name__ == "__main__":
    main()
