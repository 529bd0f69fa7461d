"""Voice: from text and three seconds of somebody's speech to sound, with the models of a run.

Example usage::

    voice = Voice("runs/tiny", Prompt.read("prompt.wav", text="what is said in it"))
    soundfile.write("hello.wav", voice.say("Hello there."), CODEC_RATE)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.phones import load_phone_set, open_phonemizer
from voxbeam.models.speech_metrics import Recognizer, similarity, word_error_rate
from voxbeam.models.text_normalization import normalize_text
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.generate import Generated, Request, generate, stream
from voxbeam.synthesis.sampling import SamplingConfig

PHONES_PER_SECOND = 5
"""slower than anybody reads; what takes longer is taken for a loop and cut"""
LONGEST_SENTENCE = 200
"""characters; a longer one is cut at a comma or a blank"""


@dataclass(frozen=True)
class Prompt:
    """Speech of the voice to speak in: mono at 24 kHz, and its words where they are known."""

    wave_S: NDArray[np.float32]
    text: str | None = None

    @classmethod
    def read(cls, path: Path | str, text: str | None = None, seconds: float = 3.0) -> Prompt:
        """The beginning of a sound file. With its text, which must then be the text of that beginning, `seconds` only caps it."""
        sound, rate = sf.read(path, dtype="float32", always_2d=True)
        wave_S = sound.mean(axis=1)[: round(seconds * rate)]
        return cls(np.ascontiguousarray(soxr.resample(wave_S, rate, CODEC_RATE), dtype=np.float32), text)


@dataclass(frozen=True)
class Take:
    """One attempt at a sentence, and how it sounds."""

    wave_S: NDArray[np.float32]
    ended: bool
    errors: float
    """word error rate by the recognizer"""
    similarity: float
    """cosine of GE2E embeddings with the prompt, −1 to 1"""


@dataclass
class Voice:
    """A prompt, and the models that speak as it does. Raises what `trained.load_models` raises for a run without checkpoints."""

    run_uri: str
    prompt: Prompt
    codec: Codec = field(default_factory=lambda: load_codec(EMBEDDED_WEIGHTS))
    recognizer: Recognizer = field(default_factory=Recognizer)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    language: str = "en-us"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.ar, self.nar, self.config = load_models(self.run_uri, self.device, self.codec)
        self.phone_set = load_phone_set(self.language)
        if len(self.phone_set.phones) != self.config.n_phones:
            raise ValueError(
                f"the run was trained with {self.config.n_phones} phones, the phone set of {self.language} has "
                f"{len(self.phone_set.phones)}: use the language and version that its corpus was built with"
            )
        self.phonemizer = open_phonemizer(self.language)

    @cached_property
    def prompt_text(self) -> str:
        """What the prompt says; heard by the recognizer where nobody told. Raises ValueError where it hears nothing."""
        text = self.prompt.text if self.prompt.text is not None else self.recognizer.hear(self.prompt.wave_S)
        if not text.strip():
            raise ValueError(
                "the recognizer hears no words in the prompt: choose a file that begins with speech, or give --prompt-text"
            )
        return text

    @cached_property
    def prompt_KP(self) -> NDArray[np.int16]:
        return self.codec.encode([self.prompt.wave_S])[0]

    def say(self, text: str, *, best_of: int = 1, seed: int = 0) -> NDArray[np.float32]:
        """Sound [S] at 24 kHz of a text of any length, sentence by sentence. Raises ValueError for a text without words."""
        return np.concatenate([self.take(part, best_of=best_of, seed=seed).wave_S for part in sentences(text)])

    def take(self, sentence: str, *, best_of: int = 1, seed: int = 0) -> Take:
        """The best of several takes, all decoded in one batch: fewest word errors, then closest in voice."""
        takes = self.takes([sentence] * best_of, seed=seed)
        return min(takes, key=lambda take: (not take.ended, take.errors, -take.similarity))

    def takes(self, texts: Sequence[str], *, seed: int = 0) -> list[Take]:
        """One judged take of every text, decoded in one batch."""
        made = generate(self.ar, self.nar, [self.request(text) for text in texts], self.sampling, seed=seed)
        return [self._judged(*pair) for pair in zip(texts, made, strict=True)]

    def continuation(self, text: str, *, seed: int = 0) -> NDArray[np.float32]:
        """The prompt as it goes on with a text: one sound, the codec's prompt first (VALL-E-continual, section 5.2)."""
        (made,) = generate(self.ar, self.nar, [self.request(text)], self.sampling, seed=seed)
        return self.codec.decode([np.concatenate([self.prompt_KP, made.codes_KT], axis=1)])[0]

    def stream(self, text: str, *, chunk: int = 38, seed: int = 0) -> Iterator[NDArray[np.float32]]:
        """Sound in chunks of about `chunk` frames (13 ms each), each as soon as it is made; their join is the whole.

        A chunk is held back by the frames that the codec looks ahead.
        """
        for sentence in sentences(text):
            chunks = stream(self.ar, self.nar, self.request(sentence), self.sampling, chunk=chunk, seed=seed)
            yield from decode_in_chunks(self.codec, self.prompt_KP, chunks)

    def request(self, text: str) -> Request:
        """A text behind the prompt. Raises ValueError if the text has no words."""
        return self.request_behind([self.prompt_text], self.prompt_KP, text)

    def request_behind(self, texts: Sequence[str], codes_KP: NDArray[np.int16], text: str) -> Request:
        """A text behind codes that say `texts`. Raises ValueError if the text has no words."""
        *before, told = self.phonemizer.phonemize([normalize_text(part) for part in [*texts, text]])
        if not told:
            raise ValueError(f"there are no words in {text!r}")
        ids = self.phone_set.encode(" | ".join(part for part in [*before, told] if part))
        seconds = 1 + len(told.split()) / PHONES_PER_SECOND
        return Request(phones_L=np.array(ids, np.int64), prompt_KP=codes_KP, most_frames=round(seconds * self.codec.frame_rate))

    def _judged(self, text: str, made: Generated) -> Take:
        wave_S = self.codec.decode([made.codes_KT])[0]
        errors = word_error_rate(normalize_text(text), normalize_text(self.recognizer.hear(wave_S)))
        return Take(wave_S, made.ended, errors, similarity(wave_S, self.prompt.wave_S))


def decode_in_chunks(
    codec: Codec, before_KP: NDArray[np.int16], chunks: Iterable[NDArray[np.int16]]
) -> Iterator[NDArray[np.float32]]:
    """Sound of codes that arrive in chunks [K, T], as soon as no later code can change it.

    The codes before them are not heard again: they give the first chunk its beginning. Joined, it is what the whole gives.
    """
    hop = CODEC_RATE // codec.frame_rate
    codes_KT, told = before_KP, before_KP.shape[1]
    for fresh_KT in chunks:
        codes_KT = np.concatenate([codes_KT, fresh_KT], axis=1)
        final = codes_KT.shape[1] - codec.lookahead
        if final > told:
            yield codec.decode([codes_KT])[0][told * hop : final * hop]
            told = final
    if told < codes_KT.shape[1]:
        yield codec.decode([codes_KT])[0][told * hop :]


def sentences(text: str) -> list[str]:
    """A text in sentences of at most `LONGEST_SENTENCE` characters. Raises ValueError for a text without words."""
    parts = [part.strip() for part in re.split(r"(?<=[.!?;])\s+|\n+", text)]
    cut: list[str] = []
    for part in parts:
        while len(part) > LONGEST_SENTENCE:
            at = max(part.rfind(", ", 0, LONGEST_SENTENCE) + 1, 0) or part.rfind(" ", 0, LONGEST_SENTENCE)
            at = at if at > 0 else LONGEST_SENTENCE
            cut.append(part[:at].strip())
            part = part[at:].strip()
        cut.append(part)
    said = [part for part in cut if any(map(str.isalnum, part))]
    if not said:
        raise ValueError("the text has no words to say")
    return said
