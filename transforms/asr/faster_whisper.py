"""The default ASR backend, faster-whisper, with batches padded no more than needed."""

from collections.abc import Sequence
from dataclasses import replace

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens, merge_punctuations
from numpy.typing import NDArray

from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.models.whisper_models import load_model
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Transcript, Word
from voxbeam.transforms.asr.base import (
    AFTER_WORD,
    BEAM,
    BEFORE_WORD,
    FALLBACK,
    MAX_TOKENS,
    SEED,
    WINDOW_S,
    Hypothesis,
    Waveform,
    batches,
    is_suspect,
    numeral_tokens,
    ordered_words,
    pick_hypothesis,
    require_language,
    require_window,
)
from voxbeam.transforms.asr.language import CONFIDENT, FRAMES_PER_SECOND, detect_language, most_probable_language, padded_features


class FasterWhisper:
    """ASR backend on CTranslate2.

    A batch is padded to its longest waveform plus `padding_s` instead of to 30 s, which gives most of the speed.
    """

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        self._config, self._device = config, device
        self._model = load_model(config.model, device)
        self.multilingual: bool = self._model.model.is_multilingual
        tokenizer = self._tokenizer("en")
        self._numerals = numeral_tokens(tokenizer.tokenizer.decode, tokenizer.eot)

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Hypothesis]:
        require_window(waveforms)
        require_language(language, self._model.supported_languages)
        hypotheses: dict[int, Hypothesis] = {}
        for batch in batches(waveforms, self._config.batch):
            hypotheses.update(zip(batch, self._transcribe_batch([waveforms[i] for i in batch], language, numerals), strict=True))
        return [hypotheses[i] for i in range(len(waveforms))]

    def decode_with_fallback(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Hypothesis | None]:
        sampler: WhisperModel | None = None
        hypotheses: list[Hypothesis | None] = []
        for waveform, language in zip(waveforms, languages, strict=True):
            hypothesis = self._decode_alone(self._model, waveform, language, (0.0,))
            if hypothesis is not None and is_suspect(hypothesis, self._config):
                # CTranslate2 seeds the generator of a model's thread once, at its first use. Only a newly loaded model draws the
                # same samples whatever was decoded before.
                if sampler is None:
                    ctranslate2.set_random_seed(SEED)
                    sampler = load_model(self._config.model, self._device)
                sampled = self._decode_alone(sampler, waveform, language, FALLBACK)
                hypothesis = pick_hypothesis(hypothesis, sampled, self._config)
            hypotheses.append(hypothesis)
        return hypotheses

    def _tokenizer(self, language: str) -> Tokenizer:
        return Tokenizer(self._model.hf_tokenizer, self.multilingual, task="transcribe", language=language)

    def _transcribe_batch(self, waveforms: list[Waveform], language: str | None, numerals: bool) -> list[Hypothesis]:
        features, frames = padded_features(self._model, waveforms, self._config.padding_s)

        def run_rows(rows: Sequence[int]) -> list[Hypothesis]:
            batch = [waveforms[i] for i in rows], features[rows], [frames[i] for i in rows]
            return self._transcribe_padded(*batch, language, numerals)

        return map_with_oom_backoff(run_rows, range(len(waveforms)), len(waveforms))

    def _transcribe_padded(
        self,
        waveforms: list[Waveform],
        features: NDArray[np.float32],
        frames: list[int],
        language: str | None,
        numerals: bool,
    ) -> list[Hypothesis]:
        encoded = self._model.encode(features)
        detected: list[tuple[str, float | None]] = [("en", None)] * len(frames)
        if self.multilingual:
            quick = map(most_probable_language, self._model.model.detect_language(encoded))
            detected = [
                (name, probability) if probability >= CONFIDENT else detect_language(self._model, [waveform], WINDOW_S, WINDOW_S)
                for waveform, (name, probability) in zip(waveforms, quick, strict=True)
            ]
        written = [language or name for name, _ in detected]
        hypotheses: dict[int, Hypothesis] = {}
        for each in sorted(set(written)):
            rows = [i for i, name in enumerate(written) if name == each]
            # Most batches have one language; only a mixed one is encoded again.
            part = encoded if len(rows) == len(frames) else self._model.encode(features[rows])
            hypotheses.update(zip(rows, self._generate(part, [frames[i] for i in rows], each, numerals), strict=True))
        return [_with_language(hypotheses[i], *detected[i]) for i in range(len(frames))]

    def _generate(self, encoded: ctranslate2.StorageView, frames: list[int], language: str, numerals: bool) -> list[Hypothesis]:
        tokenizer = self._tokenizer(language)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        results = self._model.model.generate(
            encoded,
            [prompt] * len(frames),
            beam_size=1,
            max_length=len(prompt) + MAX_TOKENS,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1] if numerals else [-1, *self._numerals]),
        )
        tokens = [result.sequences_ids[0] for result in results]
        words = self._words(tokenizer, tokens, encoded, frames) if self._config.word_timestamps else [()] * len(frames)
        hypotheses = []
        for result, ids, aligned in zip(results, tokens, words, strict=True):
            text = tokenizer.decode(ids).strip()
            transcript = Transcript(
                text=text,
                language=language,
                language_probability=None,
                # CTranslate2's score is a mean over the tokens; Whisper's mean counts the end token too.
                avg_logprob=result.scores[0] * len(ids) / (len(ids) + 1),
                no_speech_prob=result.no_speech_prob,
                compression_ratio=get_compression_ratio(text),
                temperature=0.0,
                used_fallback=False,
                words=aligned,
            )
            hypotheses.append(Hypothesis(transcript=transcript, truncated=len(ids) >= MAX_TOKENS))
        return hypotheses

    def _words(
        self, tokenizer: Tokenizer, tokens: list[list[int]], encoded: ctranslate2.StorageView, frames: list[int]
    ) -> list[tuple[Word, ...]]:
        texts = [[token for token in ids if token < tokenizer.eot] for ids in tokens]
        aligned = self._model.find_alignment(tokenizer, texts, encoded, frames)
        for alignment in aligned:
            merge_punctuations(alignment, BEFORE_WORD, AFTER_WORD)
        return [
            ordered_words(
                [(w["word"], w["start"], w["end"], w["probability"]) for w in alignment],
                count * 1000 // FRAMES_PER_SECOND,
            )
            for alignment, count in zip(aligned, frames, strict=True)
        ]

    def _decode_alone(
        self, model: WhisperModel, waveform: Waveform, language: str, temperatures: tuple[float, ...]
    ) -> Hypothesis | None:
        """faster-whisper's own decoding of one window, at the given temperatures in turn; None if it finds no speech."""
        segments, _ = model.transcribe(
            waveform,
            language=language,
            beam_size=BEAM,
            best_of=BEAM,
            temperature=temperatures,
            compression_ratio_threshold=self._config.max_compression_ratio,
            log_prob_threshold=self._config.min_avg_logprob,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=MAX_TOKENS,
            word_timestamps=self._config.word_timestamps,
            vad_filter=False,
        )
        # Without timestamps a window is one segment, or none if the library finds no speech.
        segment = next(iter(segments), None)
        if segment is None:
            return None
        words = [(w.word, w.start, w.end, w.probability) for w in segment.words or []]
        transcript = Transcript(
            text=segment.text.strip(),
            language=language,
            language_probability=None,
            avg_logprob=segment.avg_logprob,
            no_speech_prob=segment.no_speech_prob,
            compression_ratio=segment.compression_ratio,
            temperature=float(segment.temperature or 0.0),
            used_fallback=True,
            words=ordered_words(words, len(waveform) * 1000 // ASR_RATE),
        )
        return Hypothesis(transcript=transcript, truncated=len(segment.tokens) >= MAX_TOKENS)


def _with_language(hypothesis: Hypothesis, language: str, probability: float | None) -> Hypothesis:
    transcript = replace(hypothesis.transcript, language=language, language_probability=probability)
    return replace(hypothesis, transcript=transcript)
