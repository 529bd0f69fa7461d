"""Made conversations: mixtures of single-speaker phrases with exact truth, to train the detector of second voices on.

One to three people take turns, with pauses or overlap, or one talks while others put in 0.2 to 0.8 s. Most voices are played
faster or slower than they are, which makes new voices of few; half of the second persons are chosen for sounding like the first.
Half of the mixtures get a simulated room for every person, all of them noise, some knocks, a narrow band or both.
Shapes: S samples at 16 kHz, T moments of 10 ms, P people.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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

TEMPO = (0.85, 1.18)
"""how much slower or faster, and so lower or higher, a voice may be played"""

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
    """Phrases by speaker of FLAC and Ogg files; a file name up to the first '-' names the speaker. Two or more phrases each."""
    pool: Pool = defaultdict(list)
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".flac", ".ogg")):
        rate = sf.info(path).samplerate
        wave = sf.read(path, dtype="float32", stop=LONGEST_FILE_S * rate)[0]
        pool[path.stem.split("-")[0]] += _phrases(soxr.resample(wave, rate, ASR_RATE).astype(np.float32))
    return {speaker: found for speaker, found in pool.items() if len(found) >= 2}


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


def read_listeners(folders: Sequence[Path]) -> Pool:
    """Phrases of files whose speakers nobody named: each file is a person, and may be another one again."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".flac", ".ogg"))
    pool = {}
    for path in paths:
        wave, rate = sf.read(path, dtype="float32")
        pool[path.stem] = _phrases(soxr.resample(wave, rate, ASR_RATE).astype(np.float32))
    return {file: found for file, found in pool.items() if found}


def make_conversation(
    pool: Pool, rng: np.random.Generator, listeners: Pool | None = None, alike: Mapping[str, Sequence[str]] | None = None
) -> Conversation:
    """One mixture of 30 s.

    Args:
        pool: phrases of the people who talk.
        rng: decides everything.
        listeners: phrases of people who only put in a word, in a third of the mixtures.
        alike: the speakers of `pool` who sound most like each speaker.
    """
    count = int(rng.choice([1, 2, 2, 2, 3]))
    names = [str(rng.choice(sorted(pool)))]
    tempo = [_tempo(rng)]
    while len(names) < count:
        near = [name for name in (alike or {}).get(names[0], ()) if name not in names]
        is_near = bool(near) and rng.random() < 1 / 2
        names.append(str(rng.choice(near if is_near else sorted(set(pool) - set(names)))))
        tempo.append(tempo[0] if is_near else _tempo(rng))
    talkers, voices = count, [pool[name] for name in names]
    if listeners and rng.random() < 1 / 3:
        voices.append(listeners[str(rng.choice(sorted(listeners)))])
        tempo.append(_tempo(rng))
    people = len(voices)
    listening = people > 1 and (people > talkers or rng.random() < 2 / 3)
    taking_turns = talkers > 1 and (not listening or rng.random() < 1 / 2)
    rate = rng.uniform(0.2, 0.8)
    mixture = _Mixture(people, 10 ** (rng.uniform(-4, 4, people) / 20), rng)
    used = rng.integers(100, size=people)
    at, speaker = rng.uniform(0, 0.5), 0
    while at < SECONDS:
        phrase = _next(voices[speaker], used, speaker, tempo)
        mixture.add(speaker, phrase * np.float32(10 ** (rng.uniform(-3, 3) / 20)), at)
        end = at + len(phrase) / ASR_RATE
        if listening and rng.random() < rate:
            other = talkers if people > talkers and rng.random() < 0.7 else _someone_else(speaker, people, rng)
            word = _word(_next(voices[other], used, other, tempo), rng)
            gain = np.float32(10 ** (rng.uniform(-9, 3) / 20) / mixture.gains[other] * mixture.gains[speaker])
            mixture.add(other, word * gain, rng.uniform(at, end + 0.4))
        if not taking_turns or rng.random() < 0.3:
            at = end + rng.uniform(0.1, 0.7)
        else:
            at = end + (rng.uniform(-0.6, 0.6) if rng.random() < 0.8 else rng.uniform(0.05, 0.3))
            speaker = _someone_else(speaker, talkers, rng)
    return Conversation(_degrade(mixture.sound(), rng), *mixture.activity())


class _Mixture:
    def __init__(self, people: int, gains: NDArray[np.float64], rng: np.random.Generator) -> None:
        self.gains, moments = gains, (SECONDS + 10) * 100
        self.wave_PS = np.zeros((people, moments * MOMENT), np.float32)
        self.near_PT, self.loud_PT = (np.zeros((people, moments), np.bool_) for _ in range(2))
        self.rng = rng

    def add(self, person: int, phrase: NDArray[np.float32], at: float) -> None:
        first = int(at * ASR_RATE)
        phrase = phrase[: self.wave_PS.shape[1] - first]
        self.wave_PS[person, first : first + len(phrase)] += phrase * np.float32(self.gains[person])
        blocks = phrase[: len(phrase) // MOMENT * MOMENT].reshape(-1, MOMENT)
        level = np.sqrt((blocks**2).mean(axis=1)) / max(1e-6, float(np.sqrt((phrase**2).mean())))
        near = np.convolve(level > 0.1, np.ones(9), "same") >= 1
        span = slice(first // MOMENT, first // MOMENT + len(level))
        self.near_PT[person, span] |= near[: self.near_PT[person, span].size]
        self.loud_PT[person, span] |= (level > 0.25)[: self.loud_PT[person, span].size]

    def sound(self) -> NDArray[np.float64]:
        """The sum [S] of the people, in half of the mixtures each from another place of one room."""
        wave_PS = self.wave_PS[:, : SECONDS * ASR_RATE].astype(np.float64)
        if self.rng.random() < 0.5:
            length, far = int(self.rng.uniform(0.15, 0.8) * ASR_RATE), self.rng.uniform(0.1, 1.2)
            wave_PS = np.stack([_in_room(wave_S, length, far * self.rng.uniform(0.7, 1.4), self.rng) for wave_S in wave_PS])
        return np.asarray(wave_PS.sum(axis=0))

    def activity(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return self.near_PT[:, : SECONDS * 100], self.loud_PT[:, : SECONDS * 100]


def _next(
    phrases: list[NDArray[np.float32]], used: NDArray[np.int64], person: int, tempo: Sequence[float]
) -> NDArray[np.float32]:
    used[person] += 1
    phrase = phrases[used[person] % len(phrases)]
    return phrase if tempo[person] == 1 else soxr.resample(phrase, ASR_RATE * tempo[person], ASR_RATE).astype(np.float32)


def _tempo(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.3 else float(rng.uniform(*TEMPO))


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


def _in_room(wave_S: NDArray[np.float64], length: int, far: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """With a reverberation of `length` samples, whose amplitude is `far` times that of the direct sound."""
    room = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    room[: int(rng.uniform(16, 320))] = 0  # the time to the first wall
    room *= far / np.sqrt((room**2).sum())
    room[0] = 1
    size = 1 << (len(wave_S) + length).bit_length()
    return np.asarray(np.fft.irfft(np.fft.rfft(wave_S, size) * np.fft.rfft(room, size))[: len(wave_S)])


def _degrade(mix_S: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise, knocks, a narrow band and a level."""
    noise_S = rng.standard_normal(len(mix_S))
    if rng.random() < 0.5:
        noise_S = np.convolve(noise_S, np.full(int(rng.integers(2, 12)), 0.5), "same")
    power_ratio = (mix_S**2).mean() / (noise_S**2).mean()
    mix_S = mix_S + noise_S * np.sqrt(power_ratio) * 10 ** (-rng.uniform(8, 45) / 20)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 12))):
            at, long = int(rng.integers(len(mix_S) - ASR_RATE)), int(rng.uniform(0.01, 0.15) * ASR_RATE)
            knock = np.convolve(rng.standard_normal(long), np.full(int(rng.integers(1, 20)), 0.2), "same")
            knock *= np.exp(-5 * np.arange(long) / long) / np.abs(knock).max()
            mix_S[at : at + long] += knock * LEVEL * 10 ** (rng.uniform(-10, 12) / 20)
    if rng.random() < 0.2:
        low_pass = np.sinc((np.arange(63) - 31) * 0.45) * 0.45 * np.hamming(63)
        mix_S = np.convolve(mix_S, low_pass, "same")
    return np.asarray(mix_S * 10 ** (rng.uniform(-20, 0) / 20) * 0.5 / np.abs(mix_S).max(), np.float32)
