"""Zero-shot speech synthesis: text in the voice of a three-second prompt, with the models of a training run.

Example::

    from voxbeam.synthesis.synthesizer import Synthesizer

    synthesizer = Synthesizer.load("runs/tiny", prompt="me.wav")
    wave_S = synthesizer.say("Hello there.")                # float32 [S] at 24 kHz
    for chunk_S in synthesizer.stream("Hello there."):      # the same text, in chunks
        ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.load_valle import load_models
from voxbeam.models.phones import load_phone_set, open_phonemizer
from voxbeam.models.speech_metrics import WhisperTranscriber, speaker_similarity, word_error_rate
from voxbeam.models.spoken_form import spoken_form, spoken_or_raise
from voxbeam.schemas.errors import CheckpointError, SynthesisError
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.synthesis.generate import Generated, Request, generate, generate_chunks
from voxbeam.synthesis.sampling import SamplingConfig

MIN_PHONES_PER_SECOND = 5
"""slower than anybody speaks: a longer utterance is a loop, and is truncated"""
MAX_SENTENCE_CHARACTERS = 200
"""longer sentences are split at a comma or a blank"""


@dataclass(frozen=True)
class Prompt:
    """Speech of the speaker to imitate, mono at 24 kHz, and its transcript if known."""

    wave_S: NDArray[np.float32]
    text: str | None = None

    @classmethod
    def read(cls, path: Path | str, text: str | None = None, seconds: float = 3.0) -> Self:
        """The first `seconds` of an audio file. `text`, if given, must be the transcript of exactly that part.

        Raises SynthesisError for a file that cannot be read.
        """
        try:
            audio, rate = sf.read(path, dtype="float32", always_2d=True)
        except (OSError, sf.LibsndfileError) as error:
            raise SynthesisError(
                f"cannot read the prompt {path} ({error})", remedy="name an audio file, such as .wav or .flac"
            ) from error
        wave_S = audio.mean(axis=1)[: round(seconds * rate)]
        return cls(np.ascontiguousarray(soxr.resample(wave_S, rate, CODEC_RATE), dtype=np.float32), text)


@dataclass(frozen=True)
class Candidate:
    """One synthesized version of a sentence, and its quality."""

    wave_S: NDArray[np.float32]
    finished: bool
    """the model ended the sentence; False if it was truncated"""
    wer: float
    """word error rate of the transcript"""
    speaker_similarity: float
    """cosine of CAM++ embeddings with the prompt, −1 to 1"""


@dataclass
class Synthesizer:
    """Trained models with a prompt. `Synthesizer.load` opens all parts by name.

    Raises CheckpointError for a run without checkpoints, without one of the models, or of another codec or language.
    """

    run_uri: str
    prompt: Prompt
    codec: Codec = field(default_factory=lambda: load_codec(EMBEDDED_WEIGHTS))
    transcriber: WhisperTranscriber = field(default_factory=WhisperTranscriber)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    language: str = "en-us"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.ar, self.nar, self.config = load_models(self.run_uri, self.device, self.codec)
        self.phone_set = load_phone_set(self.language)
        if len(self.phone_set.phones) != self.config.n_phones:
            raise CheckpointError(
                f"the run was trained with {self.config.n_phones} phones, the phone set of {self.language} has "
                f"{len(self.phone_set.phones)}",
                remedy="use the language with which its corpus was built",
            )
        self.phonemizer = open_phonemizer(self.language)

    @classmethod
    def load(
        cls,
        run_uri: str,
        prompt: Path | str,
        *,
        prompt_text: str | None = None,
        prompt_seconds: float = 3.0,
        codec: str = "embedded",
        asr_model: str = "embedded",
        sampling: SamplingConfig | None = None,
        language: str = "en-us",
        device: str = "cpu",
    ) -> Self:
        """The models of a run's last checkpoint, and the first `prompt_seconds` of an audio file as their prompt.

        `run_uri` is the folder or bucket prefix of a training run, or of a folder with the runs `ar` and `nar`. Without
        `prompt_text`, Whisper (`asr_model`) transcribes the prompt when it is first needed. `codec` must be the codec of the
        corpus: 'embedded', 'encodec_24khz', a path, a bucket address or a hub file. `device` is 'cpu' or 'cuda'.

        Raises SynthesisError for a prompt that cannot be read, ModelError for a codec that cannot be loaded, CheckpointError
        for a run that cannot be used. All of them are `VoxbeamError`s.
        """
        path, sha256 = codec_weights(codec)
        return cls(
            run_uri,
            Prompt.read(prompt, prompt_text, prompt_seconds),
            codec=load_codec(path, sha256=sha256, device=device),
            transcriber=WhisperTranscriber(asr_model, device),
            sampling=sampling or SamplingConfig(),
            language=language,
            device=device,
        )

    @cached_property
    def prompt_text(self) -> str:
        """Transcript of the prompt, by Whisper if it was not given. Raises SynthesisError if Whisper finds no words."""
        text = self.prompt.text if self.prompt.text is not None else self.transcriber.transcribe(self.prompt.wave_S)
        if not text.strip():
            raise SynthesisError(
                "Whisper finds no words in the prompt",
                remedy="use a file that begins with speech, or give its transcript (prompt_text, --prompt-text)",
            )
        return text

    @cached_property
    def prompt_KP(self) -> NDArray[np.int16]:
        """The codes of the prompt."""
        return self.codec.encode([self.prompt.wave_S])[0]

    def say(self, text: str, *, candidates: int = 1, seed: int = 0) -> NDArray[np.float32]:
        """Audio [S] at 24 kHz of a text of any length, sentence by sentence.

        With several `candidates`, each sentence is generated that many times and the best version is kept. Raises
        SynthesisError for a text without words.
        """
        waves = [self.best_candidate(sentence, candidates=candidates, seed=seed).wave_S for sentence in split_sentences(text)]
        return np.concatenate(waves)

    def stream(self, text: str, *, chunk_frames: int = 38, seed: int = 0) -> Iterator[NDArray[np.float32]]:
        """Audio in chunks of about `chunk_frames` frames (13 ms each), each as soon as it is final; together the whole text.

        A chunk is delayed by the codec's lookahead. Raises SynthesisError for a text without words.
        """
        for sentence in split_sentences(text):
            request = self.request(sentence)
            chunks = generate_chunks(self.ar, self.nar, request, self.sampling, chunk_frames=chunk_frames, seed=seed)
            yield from decode_chunks(self.codec, self.prompt_KP, chunks)

    def continue_prompt(self, text: str, *, seed: int = 0) -> NDArray[np.float32]:
        """Audio of the prompt followed by a text that continues it (VALL-E-continual, section 5.2)."""
        (generated,) = generate(self.ar, self.nar, [self.request(text)], self.sampling, seed=seed)
        return self.codec.decode([np.concatenate([self.prompt_KP, generated.codes_KT], axis=1)])[0]

    def best_candidate(self, sentence: str, *, candidates: int = 1, seed: int = 0) -> Candidate:
        """The best of several candidates, decoded in one batch: finished, fewest word errors, most similar voice."""
        return best_of(self.synthesize([sentence] * candidates, seed=seed))

    def synthesize(self, sentences: Sequence[str], *, seed: int = 0) -> list[Candidate]:
        """One candidate of every sentence, decoded in one batch."""
        generated = generate(self.ar, self.nar, [self.request(text) for text in sentences], self.sampling, seed=seed)
        return [self._measure(*pair) for pair in zip(sentences, generated, strict=True)]

    def request(self, text: str) -> Request:
        """A text after the prompt. Raises SynthesisError for a text without words."""
        return self.request_with_context([self.prompt_text], self.prompt_KP, text)

    def request_with_context(self, context: Sequence[str], codes_KP: NDArray[np.int16], text: str) -> Request:
        """A text after codes whose transcript is `context`. Raises SynthesisError for no words, or a symbol without any."""
        *before, spoken = self.phonemizer.phonemize([spoken_or_raise(part) for part in [*context, text]])
        if not spoken:
            raise SynthesisError(f"there are no words in {text!r}", remedy="give a text with at least one word")
        ids = self.phone_set.encode(" | ".join(part for part in [*before, spoken] if part))
        seconds = 1 + len(spoken.split()) / MIN_PHONES_PER_SECOND
        return Request(phones_L=np.array(ids, np.int64), prompt_KP=codes_KP, max_frames=round(seconds * self.codec.frame_rate))

    def _measure(self, text: str, generated: Generated) -> Candidate:
        wave_S = self.codec.decode([generated.codes_KT])[0]
        wer = word_error_rate(spoken_form(text).text, spoken_form(self.transcriber.transcribe(wave_S)).text)
        return Candidate(wave_S, generated.finished, wer, speaker_similarity(wave_S, self.prompt.wave_S))


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The best candidate: finished rather than truncated, then fewest word errors, then most similar voice."""
    return min(candidates, key=lambda one: (not one.finished, one.wer, -one.speaker_similarity))


def decode_chunks(
    codec: Codec, prompt_KP: NDArray[np.int16], chunks: Iterable[NDArray[np.int16]]
) -> Iterator[NDArray[np.float32]]:
    """Audio of codes that arrive in chunks [K, T], each part as soon as no later code can change it.

    The prompt gives the first chunk its context and is not part of the output. The parts together equal the audio of all codes.
    """
    codes_KT, returned = prompt_KP, prompt_KP.shape[1]
    for fresh_KT in chunks:
        codes_KT = np.concatenate([codes_KT, fresh_KT], axis=1)
        final = codes_KT.shape[1] - codec.lookahead
        if final > returned:
            yield codec.decode([codes_KT])[0][returned * CODEC_HOP : final * CODEC_HOP]
            returned = final
    if returned < codes_KT.shape[1]:
        yield codec.decode([codes_KT])[0][returned * CODEC_HOP :]


def split_sentences(text: str) -> list[str]:
    """The spoken form of a text, in sentences of at most `MAX_SENTENCE_CHARACTERS`.

    The text is split after it is put into words, so that the dot of an abbreviation ends no sentence. Raises SynthesisError for
    a text without words, and for a symbol that cannot be spoken.
    """
    spoken = [spoken_or_raise(line) for line in text.splitlines()]
    parts = [part.strip() for line in spoken for part in re.split(r"(?<=[.!?;])\s+", line)]
    pieces: list[str] = []
    for part in parts:
        while len(part) > MAX_SENTENCE_CHARACTERS:
            at = max(part.rfind(", ", 0, MAX_SENTENCE_CHARACTERS) + 1, 0) or part.rfind(" ", 0, MAX_SENTENCE_CHARACTERS)
            at = at if at > 0 else MAX_SENTENCE_CHARACTERS
            pieces.append(part[:at].strip())
            part = part[at:].strip()
        pieces.append(part)
    sentences = [piece for piece in pieces if any(map(str.isalnum, piece))]
    if not sentences:
        raise SynthesisError("the text has no words", remedy="give a text with at least one word")
    return sentences
