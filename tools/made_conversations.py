"""Made conversations: mixtures of single-speaker phrases with exact truth, to train the detector of second voices on.

One to three people take turns, with pauses or overlap, or one talks while others put in 0.2 to 0.8 s. Half of the mixtures get a
simulated room, all of them noise, some a narrow band. Shapes: S samples at 16 kHz, T moments of 10 ms, P people.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.pauses import frame_levels_db, pause_mask, true_runs

SECONDS, MOMENT = 30, ASR_RATE // 100
LONGEST_FILE_S = 45
PHRASE_S = (0.8, 7.0)
LEVEL = 0.06
"""root mean square of every phrase before gains"""

Pool = dict[str, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Conversation:
    """A mixture and who is heard in it."""

    wave_S: NDArray[np.float32]
    near_PT: NDArray[np.bool_]
    """moments in which a person talks, short pauses included"""
    loud_PT: NDArray[np.bool_]
    """moments in which a person can be heard"""


def read_phrases(folders: Sequence[Path]) -> Pool:
    """Phrases by speaker of FLAC and Ogg files; a file name up to the first '-' names the speaker. Three or more phrases each."""
    pool: Pool = defaultdict(list)
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".flac", ".ogg")):
        rate = sf.info(path).samplerate
        wave = sf.read(path, dtype="float32", stop=LONGEST_FILE_S * rate)[0]
        pool[path.stem.split("-")[0]] += _phrases(soxr.resample(wave, rate, ASR_RATE).astype(np.float32))
    return {speaker: found for speaker, found in pool.items() if len(found) >= 3}


def _phrases(wave_S: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    quiet = pause_mask(frame_levels_db(wave_S, ASR_RATE))
    for start, end in true_runs(quiet):
        quiet[start:end] = end - start >= 12  # a shorter pause is inside a phrase
    found = []
    for start, end in (true_runs(~quiet) * MOMENT).tolist():
        phrase = wave_S[max(0, start - MOMENT) : end + MOMENT].copy()
        if PHRASE_S[0] <= len(phrase) / ASR_RATE <= PHRASE_S[1]:
            found.append(_faded(phrase, 80) * np.float32(LEVEL / np.sqrt(np.mean(phrase.astype(np.float64) ** 2))))
    return found


def make_conversation(pool: Pool, rng: np.random.Generator) -> Conversation:
    """One mixture of 30 s."""
    people = rng.choice(sorted(pool), int(rng.choice([1, 2, 2, 2, 3])), replace=False).tolist()
    listening = len(people) > 1 and rng.random() < 2 / 3
    taking_turns = not listening or rng.random() < 1 / 2
    mixture = _Mixture(len(people), 10 ** (rng.uniform(-4, 4, len(people)) / 20))
    used = rng.integers(100, size=len(people))
    at, speaker = rng.uniform(0, 0.5), 0
    while at < SECONDS:
        phrase = _next(pool[people[speaker]], used, speaker)
        mixture.add(speaker, phrase, at)
        end = at + len(phrase) / ASR_RATE
        if listening and rng.random() < 0.6:
            other = _someone_else(speaker, len(people), rng)
            word = _word(_next(pool[people[other]], used, other), rng)
            mixture.add(other, word * np.float32(10 ** (rng.uniform(-8, 2) / 20)), rng.uniform(at, end + 0.4))
        if len(people) == 1 or not taking_turns or rng.random() < 0.3:
            at = end + rng.uniform(0.1, 0.7)
        else:
            at = end + (rng.uniform(-0.6, 0.6) if rng.random() < 0.8 else rng.uniform(0.05, 0.3))
            speaker = _someone_else(speaker, len(people), rng)
    return Conversation(_degrade(mixture.wave_S[: SECONDS * ASR_RATE], rng), *mixture.activity())


class _Mixture:
    def __init__(self, people: int, gains: NDArray[np.float64]) -> None:
        self.gains, moments = gains, (SECONDS + 10) * 100
        self.wave_S = np.zeros(moments * MOMENT, np.float32)
        self.near_PT, self.loud_PT = (np.zeros((people, moments), np.bool_) for _ in range(2))

    def add(self, person: int, phrase: NDArray[np.float32], at: float) -> None:
        first = int(at * ASR_RATE)
        phrase = phrase[: len(self.wave_S) - first]
        self.wave_S[first : first + len(phrase)] += phrase * np.float32(self.gains[person])
        blocks = phrase[: len(phrase) // MOMENT * MOMENT].reshape(-1, MOMENT)
        level = np.sqrt((blocks**2).mean(axis=1)) / max(1e-6, float(np.sqrt((phrase**2).mean())))
        near = np.convolve(level > 0.1, np.ones(9), "same") >= 1
        span = slice(first // MOMENT, first // MOMENT + len(level))
        self.near_PT[person, span] |= near[: self.near_PT[person, span].size]
        self.loud_PT[person, span] |= (level > 0.25)[: self.loud_PT[person, span].size]

    def activity(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return self.near_PT[:, : SECONDS * 100], self.loud_PT[:, : SECONDS * 100]


def _next(phrases: list[NDArray[np.float32]], used: NDArray[np.int64], person: int) -> NDArray[np.float32]:
    used[person] += 1
    return phrases[used[person] % len(phrases)]


def _someone_else(person: int, people: int, rng: np.random.Generator) -> int:
    return (person + 1 + int(rng.integers(people - 1))) % people


def _word(phrase: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    length = int(rng.uniform(0.2, 0.8) * ASR_RATE)
    first = int(rng.uniform(0, max(1, len(phrase) - length)))
    return _faded(phrase[first : first + length].copy(), 400)


def _faded(wave_S: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    samples = min(samples, len(wave_S) // 3)
    ramp = np.linspace(0, 1, samples, dtype=np.float32)
    wave_S[:samples] *= ramp
    wave_S[len(wave_S) - samples :] *= ramp[::-1]
    return wave_S


def _degrade(wave_S: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A room, noise, a narrow band and a level."""
    mix_S = wave_S.astype(np.float64)
    if rng.random() < 0.5:
        length = int(rng.uniform(0.15, 0.7) * ASR_RATE)
        room = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
        room *= rng.uniform(0.1, 0.6) / np.sqrt((room**2).sum())
        room[0] = 1
        size = 1 << (len(mix_S) + length).bit_length()
        mix_S = np.fft.irfft(np.fft.rfft(mix_S, size) * np.fft.rfft(room, size))[: len(mix_S)]
    noise_S = rng.standard_normal(len(mix_S))
    if rng.random() < 0.5:
        noise_S = np.convolve(noise_S, np.full(6, 0.5), "same")
    power_ratio = (mix_S**2).mean() / (noise_S**2).mean()
    mix_S = mix_S + noise_S * np.sqrt(power_ratio) * 10 ** (-rng.uniform(8, 45) / 20)
    if rng.random() < 0.2:
        low_pass = np.sinc((np.arange(63) - 31) * 0.45) * 0.45 * np.hamming(63)
        mix_S = np.convolve(mix_S, low_pass, "same")
    return np.asarray(mix_S * 10 ** (rng.uniform(-20, 0) / 20) * 0.5 / np.abs(mix_S).max(), np.float32)
