"""Zero-shot speech synthesis: text in the voice of a three-second prompt, with the models of a training run.

Example::

    from voxbeam.synthesis.synthesizer import Synthesizer

    synthesizer = Synthesizer.load(prompt="me.wav")          # the voice that ships; or the folder of a training run first
    wave_S = synthesizer.say("Hello there.")                # float32 [S] at 24 kHz
    for chunk_S in synthesizer.stream("Hello there."):      # the same text, in chunks
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.embedded_voice import EMBEDDED_GUIDANCE, EMBEDDED_VOICE
from voxbeam.models.load_valle import load_models
from voxbeam.models.phones import load_phone_set, open_phonemizer
from voxbeam.models.speech_metrics import WhisperTranscriber
from voxbeam.safety.blocks import require_not_blocked
from voxbeam.safety.gate import ConsentGate, Permit
from voxbeam.schemas.errors import CheckpointError, SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.candidates import Candidate, Speech, attempt_seeds, best_of, word_errors_of, words_problem
from voxbeam.synthesis.chunks import decode_chunks
from voxbeam.synthesis.generate import MAX_PHONES_PER_SECOND, Generated, Request, frame_limits, generate, generate_chunks
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.sampling import SamplingConfig
from voxbeam.synthesis.text import left_out, phone_ids, split_sentences
from voxbeam.synthesis.whole_words import text_of_prompt, whole_words


@dataclass
class Synthesizer:
    """Trained models with a prompt. `Synthesizer.load` opens all parts by name.

    Raises CheckpointError for a run without checkpoints, without one of the models, or of another codec or language, and
    ConsentError for one that is blocked.
    """

    run_uri: str
    prompt: Prompt
    codec: Codec = field(default_factory=lambda: load_codec(EMBEDDED_WEIGHTS))
    transcriber: WhisperTranscriber = field(default_factory=WhisperTranscriber)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    language: str = "en-us"
    device: str = "cpu"
    consent: ConsentGate = field(default_factory=ConsentGate)
    """asked before anything is spoken in the voice of the prompt, and again with every sentence and chunk"""
    each_frame: Callable[[], None] | None = None
    """is called while `speak` generates, with every frame; what it raises ends that"""

    def __post_init__(self) -> None:
        require_not_blocked(self.run_uri)
        self.ar, self.nar, self.config = load_models(self.run_uri, self.device, self.codec)
        self.phone_set = load_phone_set(self.language)
        # later versions of a phone set only append: a run knows the beginning
        known = self.phone_set.phones[: self.config.n_phones]
        if len(known) < self.config.n_phones or known != (self.config.phones or known):
            raise CheckpointError(
                f"the run was trained with {self.config.n_phones} phones, which are not those of {self.language}",
                remedy="use the language with which its corpus was built (--language)",
            )
        self.phone_set = replace(self.phone_set, phones=known)
        self.phonemizer = open_phonemizer(self.language)
        self.sampling = self.sampling.with_guidance(EMBEDDED_GUIDANCE if self.run_uri == EMBEDDED_VOICE else 0.0)
        self._permit: Permit | None = None

    @classmethod
    def load(
        cls,
        run_uri: str = EMBEDDED_VOICE,
        *,
        prompt: Path | str,
        prompt_text: str | None = None,
        prompt_seconds: float = 3.0,
        codec: str = "embedded",
        asr_model: str = "embedded",
        sampling: SamplingConfig | None = None,
        language: str = "en-us",
        device: str = "cpu",
        consent: ConsentGate | None = None,
    ) -> Self:
        """The models of a run's last checkpoint, and the first `prompt_seconds` of an audio file as their prompt.

        `run_uri` is the folder or bucket prefix of a training run, or of a folder with the runs `ar` and `nar`; the voice that
        ships if it is left out. Without `prompt_text`, Whisper (`asr_model`) transcribes the prompt when it is first needed.
        `codec` must be the codec of the corpus: 'embedded', 'encodec_24khz', a path, a bucket address or a hub file. `device`
        is 'cpu' or 'cuda'. `consent` is asked for the prompt; by default with the ledger of this machine (docs/safety.md).

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
            consent=consent or ConsentGate(),
        )

    def in_voice_of(self, prompt: Prompt) -> Self:
        """The same models with another prompt; its consent is asked for anew."""
        other = copy(self)
        other.prompt, other._permit = prompt, None
        for known in ("prompt_text", "prompt_KP", "_whole_words"):
            vars(other).pop(known, None)
        return other

    def require_consent(self) -> Permit:
        """Why the prompt may be used now. Raises ConsentError if it may not, or no longer."""
        if self._permit is None:
            self._permit = self.consent.require(self.prompt.wave_S, self.run_uri)
        else:
            self.consent.recheck(self._permit, self.run_uri)
        return self._permit

    def mark(self, wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech [S] in the voice of the prompt, with the watermark that names the consent for it."""
        return self.consent.mark(wave_S, self.require_consent())

    @cached_property
    def prompt_text(self) -> str:
        """Transcript of the prompt, by Whisper if it was not given.

        A text that was given for a longer recording is cut where the prompt is. Raises SynthesisError if Whisper finds no words,
        or others than those of the text.
        """
        given = self.prompt.text
        if given is not None:
            return text_of_prompt(given, self.transcriber.transcribe(self.prompt.wave_S)) if self.prompt.is_cut else given
        text = self._whole_words[1]
        if not text.strip():
            raise SynthesisError(
                "; ".join(("Whisper finds no words in the prompt", *self.prompt.warnings)),
                remedy="use a file that begins with speech, or give its transcript (prompt_text, --prompt-text)",
            )
        return text

    @cached_property
    def prompt_KP(self) -> NDArray[np.int16]:
        """The codes of the prompt."""
        return self.codec.encode([self.prompt.wave_S if self.prompt.text is not None else self._whole_words[0]])[0]

    @cached_property
    def _whole_words(self) -> tuple[NDArray[np.float32], str]:
        return whole_words(self.prompt.wave_S, self.transcriber.transcribe_words(self.prompt.wave_S))

    def prepare(self) -> None:
        """Transcribes and encodes the prompt now, and not with the first text."""
        _ = self.prompt_text, self.prompt_KP

    def say(self, text: str, *, candidates: int = 1, seed: int = 0) -> NDArray[np.float32]:
        """Audio [S] at 24 kHz of a text of any length; `speak` also tells whether all of it succeeded."""
        return self.speak(text, candidates=candidates, seed=seed).wave_S

    def speak(self, text: str, *, candidates: int = 1, seed: int = 0) -> Speech:
        """A text of any length, sentence by sentence, with pauses between them.

        With several `candidates`, each sentence is generated that many times and the best version is kept. Raises
        SynthesisError for a text without words, or with something that cannot be spoken.
        """
        waves: list[NDArray[np.float32]] = []
        failed = []
        for sentence in split_sentences(text):
            best = self._best_candidate(sentence.text, candidates, seed)
            waves += [best.wave_S, _silence(sentence.pause_s)]
            failed += [f"{sentence.text!r}: {best.problem}"] if best.problem else []
        return Speech(self.mark(np.concatenate(waves)), left_out(text), tuple(failed), self.prompt.warnings)

    def stream(
        self, text: str, *, chunk_frames: int = 38, seed: int = 0, problems: list[str] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Audio in chunks of about `chunk_frames` frames (13 ms each), each as soon as it is final; together the whole text.

        A chunk is delayed by the codec's lookahead and the watermark's (43 ms). Nothing is tried again; after the last chunk,
        what is not as asked is added to `problems`. Raises SynthesisError for a text without words, and
        ConsentError before the next chunk once the consent for the prompt has ended.
        """
        marker = self.consent.marker(self.require_consent())
        spoken: list[tuple[str, list[NDArray[np.float32]]]] = []
        for sentence in split_sentences(text):
            spoken.append((sentence.text, []))
            request = self.request(sentence.text)
            chunks = generate_chunks(self.ar, self.nar, request, self.sampling, chunk_frames=chunk_frames, seed=seed)
            for wave_S in decode_chunks(self.codec, self.prompt_KP, chunks):
                self.require_consent()
                if problems is not None:
                    spoken[-1][1].append(wave_S)
                if len(marked_S := marker.feed(wave_S)):
                    yield marked_S
            if len(marked_S := marker.feed(_silence(sentence.pause_s))):
                yield marked_S
        yield marker.finish()
        if problems is not None:
            problems += left_out(text)
            for said, parts in spoken:
                heard = self.transcriber.transcribe(np.concatenate([_silence(0), *parts]))
                problems += [f"{said!r}: {problem}"] if (problem := self.words_problem(said, heard)) else []

    def continue_prompt(self, text: str, *, seed: int = 0) -> Speech:
        """The prompt followed by a text that continues it (VALL-E-continual, section 5.2)."""
        request = self.request(text)
        for attempt_seed in attempt_seeds(seed):
            (generated,) = generate(self.ar, self.nar, [request], self.sampling, seed=attempt_seed)
            if not (problem := self.measure(text, generated).problem):
                break
        wave_S = self.codec.decode([np.concatenate([self.prompt_KP, generated.codes_KT], axis=1)])[0]
        failed = (f"{text!r}: {problem}",) if problem else ()
        return Speech(self.mark(wave_S), left_out(text), failed, self.prompt.warnings)

    def best_candidate(self, sentence: str, *, candidates: int = 1, seed: int = 0) -> Candidate:
        """The best of several candidates, decoded in one batch: finished, fewest word errors, most similar voice.

        If all of them fail, they are made again with other random numbers, up to `ATTEMPTS` times.
        """
        best = self._best_candidate(sentence, candidates, seed)
        return replace(best, wave_S=self.mark(best.wave_S))

    def _best_candidate(self, sentence: str, candidates: int, seed: int) -> Candidate:
        """The same, without a watermark: `speak` marks the whole of what it says."""
        made: list[Candidate] = []
        for attempt_seed in attempt_seeds(seed):
            made += self.synthesize([sentence] * candidates, seed=attempt_seed)
            if not (best := best_of(made)).problem:
                break
        return best

    def synthesize(self, sentences: Sequence[str], *, seed: int = 0) -> list[Candidate]:
        """One candidate of every sentence, decoded in one batch. For measuring: they have no watermark."""
        requests = [self.request(text) for text in sentences]
        generated = generate(self.ar, self.nar, requests, self.sampling, seed=seed, each_frame=self.each_frame)
        return [self.measure(*pair) for pair in zip(sentences, generated, strict=True)]

    def request(self, text: str) -> Request:
        """A text after the prompt. Raises SynthesisError for a text without words, ConsentError for a prompt without consent."""
        self.require_consent()
        return self.request_with_context([self.prompt_text], self.prompt_KP, text)

    def request_with_context(self, context: Sequence[str], codes_KP: NDArray[np.int16], text: str) -> Request:
        """A text after codes whose transcript is `context`. Raises SynthesisError for no words, or a symbol without any."""
        ids = phone_ids([*context, text], self.phonemizer, self.phone_set)
        least, most = frame_limits(self._count_phones(text), self.codec.frame_rate)
        return Request(phones_L=np.array(ids, np.int64), prompt_KP=codes_KP, min_frames=least, max_frames=most)

    def _count_phones(self, text: str) -> int:
        """Phones of a text, with the marks between them."""
        return len(phone_ids([text], self.phonemizer, self.phone_set))

    def measure(self, text: str, generated: Generated) -> Candidate:
        """What was made of a text as a sound, without a watermark; and whether it says the text."""
        wave_S = self.codec.decode([generated.codes_KT])[0]
        heard = self.transcriber.transcribe(wave_S)
        problem = self.problem_of(text, generated) or self.words_problem(text, heard)
        return Candidate(wave_S, generated.finished, word_errors_of(text, heard), self.prompt.wave_S, problem)

    def problem_of(self, text: str, generated: Generated) -> str:
        """Why codes are no version of a text, by their length; "" if they may be one."""
        seconds = generated.codes_KT.shape[1] / self.codec.frame_rate
        if not generated.finished:
            return f"the model did not end it; it was cut after {seconds:.1f} s"
        if seconds < self._count_phones(text) / MAX_PHONES_PER_SECOND:
            return f"the model ended it after {seconds:.2f} s"
        return ""

    def words_problem(self, text: str, heard: str) -> str:
        """Why speech in which Whisper hears `heard` does not say a text; "" if it may, or if it is not English."""
        return words_problem(text, heard) if self.language.startswith("en") else ""


def _silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * CODEC_RATE), np.float32)
