"""What the watermark survives: clips are marked, attacked and read. Writes the table of docs/safety.md.

    python -m benchmarks.watermark FOLDER [--clips 40] [--seconds 5] [--only NAME,…] [--keys 0]

FOLDER has speech in .flac, .ogg or .wav anywhere below it; clips are taken at even distances from all files. Each gets a payload
of its own. "Found" is a mark that `read_mark` reports, with a false-alarm bound of 1e-6 and the speeds of `voxbeam detect`;
"right" is a mark with the payload that was put in. DNSMOS and the distance of mark and voice are measured on the same clips.
With --keys, unmarked clips are read by that many keys instead, for the rate of false alarms.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr
import torch
import torchaudio
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.safety.mark_code import BITS
from voxbeam.safety.watermark import MAX_FALSE_ALARM, MORE_SPEEDS, PERIOD, SPEEDS, TILE, likeliest_mark, mark_sound, read_mark
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

Wave = NDArray[np.float32]
Attack = Callable[[Wave], Wave]


def through(codec: str, kbps: int, rate: int = CODEC_RATE) -> Attack:
    """Encoded and decoded by FFmpeg."""

    def attack(wave_S: Wave) -> Wave:
        kind = {"libmp3lame": "mp3", "aac": "adts", "libopus": "ogg"}[codec]
        file = io.BytesIO()
        with av.open(file, "w", format=kind) as out:
            stream = out.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = kbps * 1000
            stream.codec_context.time_base = Fraction(1, rate)
            resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, stream.codec_context.frame_size or 1024)
            frame = av.AudioFrame.from_ndarray(resample(wave_S, CODEC_RATE, rate)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            for piece in (*resampler.resample(frame), *resampler.resample(None)):
                out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
        file.seek(0)
        with av.open(file) as source:
            back = av.AudioResampler("fltp", "mono", rate)
            frames = [piece for frame in source.decode(audio=0) for piece in back.resample(frame)]
        return resample(np.concatenate([frame.to_ndarray()[0] for frame in frames]), rate, CODEC_RATE)

    return attack


def resample(wave_S: Wave, source: float, target: float) -> Wave:
    return np.asarray(soxr.resample(wave_S, source, target), np.float32)


def by_rate(rate: int) -> Attack:
    return lambda wave_S: resample(resample(wave_S, CODEC_RATE, rate), rate, CODEC_RATE)


def telephone(wave_S: Wave) -> Wave:
    """8 kHz, 300 to 3400 Hz, µ-law."""
    low = torchaudio.functional.highpass_biquad(torch.from_numpy(resample(wave_S, CODEC_RATE, 8000)), 8000, 300)
    quantized = torchaudio.functional.mu_law_encoding(torchaudio.functional.lowpass_biquad(low, 8000, 3400).clamp(-1, 1), 256)
    return resample(torchaudio.functional.mu_law_decoding(quantized, 256).numpy(), 8000, CODEC_RATE)


def noise(snr_db: float) -> Attack:
    def attack(wave_S: Wave) -> Wave:
        hiss = np.random.default_rng(0).normal(size=len(wave_S)).astype(np.float32)
        return wave_S + hiss * np.float32(np.sqrt((wave_S**2).mean() / 10 ** (snr_db / 10)))

    return attack


def stretch(speed: float) -> Attack:
    """Slower or faster at the same pitch (a phase vocoder)."""

    def attack(wave_S: Wave) -> Wave:
        window = torch.hann_window(1024)
        spectra = torch.stft(torch.from_numpy(wave_S), 1024, 256, window=window, return_complex=True)
        advance = torch.linspace(0, torch.pi * 256, 513)[:, None]
        return torch.istft(torchaudio.functional.phase_vocoder(spectra, speed, advance), 1024, 256, window=window).numpy()

    return attack


def faster(speed: float) -> Attack:
    """Like a tape: speed and pitch together."""
    return lambda wave_S: resample(wave_S, CODEC_RATE * speed, CODEC_RATE)


def crop(seconds: float) -> Attack:
    return lambda wave_S: wave_S[7013 : 7013 + round(seconds * CODEC_RATE)]


def attacks(clips: list[Wave]) -> dict[str, Attack]:
    codec = load_codec(EMBEDDED_WEIGHTS)
    other = clips[0]

    def mixed(snr_db: float) -> Attack:
        """Another voice, which says something else, below."""

        def attack(wave_S: Wave) -> Wave:
            second_S = np.resize(np.roll(other, 9000), len(wave_S))
            return wave_S + second_S * np.float32(np.sqrt((wave_S**2).mean() / (second_S**2).mean() / 10 ** (snr_db / 10)))

        return attack

    return {
        "none": lambda wave_S: wave_S,
        "16 bits": lambda wave_S: np.round(wave_S * 32768).astype(np.float32) / 32768,
        **{f"MP3 {kbps} kbit/s": through("libmp3lame", kbps) for kbps in (192, 128, 64, 32)},
        **{f"AAC {kbps} kbit/s": through("aac", kbps) for kbps in (96, 48, 32)},
        **{f"Opus {kbps} kbit/s": through("libopus", kbps, 48_000) for kbps in (64, 24, 16)},
        "44.1 kHz and back": by_rate(44_100),
        "16 kHz and back": by_rate(16_000),
        "8 kHz and back": by_rate(8_000),
        "telephone (8 kHz, µ-law)": telephone,
        "gain −20 dB": lambda wave_S: wave_S * np.float32(0.1),
        "gain +12 dB, clipped": lambda wave_S: np.clip(wave_S * np.float32(4), -1, 1),
        "cut to 3 s": crop(3),
        "cut to 2 s": crop(2),
        "cut to 1 s": crop(1),
        "noise, 30 dB below": noise(30),
        "noise, 20 dB below": noise(20),
        "noise, 10 dB below": noise(10),
        "5 % slower, same pitch": stretch(1 / 1.05),
        "5 % faster, same pitch": stretch(1.05),
        "2 % faster, tape": faster(1.02),
        "5 % faster, tape": faster(1.05),
        "embedded codec": lambda wave_S: codec.decode(codec.encode([wave_S]))[0],
        "another voice, 10 dB below": mixed(10),
        "another voice, as loud": mixed(0),
        "subtraction of another payload's mark": lambda wave_S: 2 * wave_S - mark_sound(wave_S, 0x12345678),
        "the same, at another position": lambda wave_S: 2 * wave_S - np.roll(mark_sound(np.roll(wave_S, -999), 1), 999),
    }


def read_clips(folder: Path, count: int, seconds: float) -> Iterator[Wave]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".ogg", ".wav"))
    found = 0
    for path in paths[:: max(1, len(paths) // (2 * count))]:
        wave, rate = sf.read(path, dtype="float32", always_2d=True)
        wave_S = resample(wave.mean(axis=1), rate, CODEC_RATE)[round(0.4 * CODEC_RATE) :][: round(seconds * CODEC_RATE)]
        if len(wave_S) == round(seconds * CODEC_RATE) and found < count:
            found += 1
            yield wave_S


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only")
    parser.add_argument("--keys", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = list(read_clips(arguments.folder, arguments.clips, arguments.seconds))
    payloads = np.random.default_rng(1).integers(0, 1 << 32, len(clips)).tolist()
    marked = [mark_sound(wave_S, payload) for wave_S, payload in zip(clips, payloads, strict=True)]
    distance = [10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()) for a, b in zip(clips, marked, strict=True)]
    below = f"{min(distance):.1f} dB at least, {np.mean(distance):.1f} mean"
    print(f"{len(clips)} clips of {arguments.seconds:g} s; the mark is below the voice by {below}")
    if arguments.keys:
        print_false_alarms(clips, arguments.keys)
        return
    session = open_model("cpu")
    scores = [[dnsmos(session, resample(wave, CODEC_RATE, ASR_RATE)).ovrl for wave in waves] for waves in (clips, marked)]
    change = np.diff(scores, axis=0)[0]
    mean = f"DNSMOS OVRL {np.mean(scores[0]):.3f} without, {np.mean(scores[1]):.3f} with"
    print(f"{mean}; change {change.mean():+.3f} ± {change.std():.3f}")
    unmarked = [read_mark(wave_S, speeds=MORE_SPEEDS) for wave_S in clips]
    print(f"| unmarked | {sum(mark is not None for mark in unmarked)} of {len(clips)} | |", flush=True)
    for name, attack in attacks(clips).items():
        if arguments.only and not any(part in name for part in arguments.only.split(",")):
            continue
        read = [detect(attack(wave_S)) for wave_S in marked]
        right = sum(mark == payload for mark, payload in zip(read, payloads, strict=True))
        print(f"| {name} | {sum(mark is not None for mark in read)} of {len(clips)} | {right} |", flush=True)


def print_false_alarms(clips: list[Wave], keys: int) -> None:
    """Scores of unmarked clips by many keys, a Gumbel distribution fitted to them, and what it says beside the bound."""
    needed = next(score for score in np.arange(8, 12, 0.01) if bound(score) <= MAX_FALSE_ALARM)
    found = np.array([likeliest_mark(clip, str(key).encode()).score for key in range(keys) for clip in clips])
    scale = found.std() * np.sqrt(6) / np.pi
    chance = -np.expm1(-np.exp(-(needed - (found.mean() - np.euler_gamma * scale)) / scale))
    print(f"{len(found)} readings of unmarked clips: score {found.mean():.2f} ± {found.std():.2f}, highest {found.max():.2f}")
    print(f"a mark needs {needed:.2f}; by a Gumbel distribution fitted to these, {chance:.1e} of unmarked clips reach it")


def bound(score: float) -> float:
    """The bound of `read_mark` for a sound of one part at one speed."""
    return float(np.exp(min(0.0, np.log(TILE * PERIOD) + BITS * np.log(2) - score**2 / 2)))


def detect(wave_S: Wave) -> int | None:
    """As `voxbeam detect` does: other speeds are tried if there is no mark at the speed of the sound."""
    mark = read_mark(wave_S, speeds=SPEEDS) or read_mark(wave_S, speeds=MORE_SPEEDS)
    return mark.payload if mark else None


if __name__ == "__main__":
    main()
