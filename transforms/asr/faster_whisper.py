"""The default recognizer, faster-whisper, in batches padded only as far as it needs; and who tells the language."""

from collections.abc import Sequence
from dataclasses import replace

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens, merge_punctuations
from numpy.typing import NDArray

from voxbeam.models.oom import in_batches
from voxbeam.models.whisper_models import load_model
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.segment import Transcript, Word
from voxbeam.transforms.asr.base import (
    AFTER_WORD,
    BEAM,
    BEFORE_WORD,
    FALLBACK,
    MAX_TOKENS,
    SAMPLE_RATE,
    SEED,
    WINDOW_S,
    Decode,
    Waveform,
    batches,
    better,
    flagged,
    numeral_tokens,
    ordered_words,
    require_language,
    require_window,
)

FRAMES_PER_SECOND = 100
EXCERPT_S = 10
"""what the language model hears of a waveform at first"""
SURE = 0.8
"""probability of a language that needs no second hearing in a whole window, which tells better and costs more"""


class FasterWhisper:
    """Recognizer on CTranslate2.

    Each batch is padded to its longest waveform and `padding_s`, not to thirty seconds, which is most of the speed.
    """

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        self._config, self._device = config, device
        self._model = load_model(config.model, device)
        self.multilingual: bool = self._model.model.is_multilingual
        tokenizer = self._tokenizer("en")
        self._numerals = numeral_tokens(tokenizer.tokenizer.decode, tokenizer.eot)

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Decode]:
        require_window(waveforms)
        require_language(language, self._model.supported_languages)
        decodes: dict[int, Decode] = {}
        for batch in batches(waveforms, self._config.batch):
            decodes.update(zip(batch, self._transcribe_batch([waveforms[i] for i in batch], language, numerals), strict=True))
        return [decodes[i] for i in range(len(waveforms))]

    def redecode(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Decode | None]:
        sampler: WhisperModel | None = None
        decodes: list[Decode | None] = []
        for waveform, language in zip(waveforms, languages, strict=True):
            decode = self._decode_alone(self._model, waveform, language, (0.0,))
            if decode is not None and flagged(decode, self._config):
                # CTranslate2 seeds the generator of a model's thread at its first use and never again, so only a fresh
                # model draws the same samples whatever was decoded before.
                if sampler is None:
                    ctranslate2.set_random_seed(SEED)
                    sampler = load_model(self._config.model, self._device)
                decode = better(decode, self._decode_alone(sampler, waveform, language, FALLBACK), self._config)
            decodes.append(decode)
        return decodes

    def _tokenizer(self, language: str) -> Tokenizer:
        return Tokenizer(self._model.hf_tokenizer, self.multilingual, task="transcribe", language=language)

    def _transcribe_batch(self, waveforms: list[Waveform], language: str | None, numerals: bool) -> list[Decode]:
        features, frames = padded_features(self._model, waveforms, self._config.padding_s)

        def some(rows: Sequence[int]) -> list[Decode]:
            few = [waveforms[i] for i in rows], features[rows], [frames[i] for i in rows]
            return self._transcribe_padded(*few, language, numerals)

        return in_batches(some, range(len(waveforms)), len(waveforms))

    def _transcribe_padded(
        self,
        waveforms: list[Waveform],
        features: NDArray[np.float32],
        frames: list[int],
        language: str | None,
        numerals: bool,
    ) -> list[Decode]:
        encoded = self._model.encode(features)
        heard: list[tuple[str, float | None]] = [("en", None)] * len(frames)
        if self.multilingual:
            told = map(_best_language, self._model.model.detect_language(encoded))
            heard = [
                (name, probability) if probability >= SURE else hear(self._model, [waveform], WINDOW_S, WINDOW_S)
                for waveform, (name, probability) in zip(waveforms, told, strict=True)
            ]
        written = [language or name for name, _ in heard]
        decodes: dict[int, Decode] = {}
        for each in sorted(set(written)):
            rows = [i for i, name in enumerate(written) if name == each]
            # One language is the rule; only a mixed batch pays for encoding again.
            part = encoded if len(rows) == len(frames) else self._model.encode(features[rows])
            decodes.update(zip(rows, self._generate(part, [frames[i] for i in rows], each, numerals), strict=True))
        return [_heard_as(decodes[i], *heard[i]) for i in range(len(frames))]

    def _generate(self, encoded: ctranslate2.StorageView, frames: list[int], language: str, numerals: bool) -> list[Decode]:
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
        decodes = []
        for result, ids, aligned in zip(results, tokens, words, strict=True):
            text = tokenizer.decode(ids).strip()
            transcript = Transcript(
                text=text,
                language=language,
                language_probability=None,
                # the score is a mean over the tokens; Whisper's own mean counts the end token too
                avg_logprob=result.scores[0] * len(ids) / (len(ids) + 1),
                no_speech_prob=result.no_speech_prob,
                compression_ratio=get_compression_ratio(text),
                temperature=0.0,
                redecoded=False,
                words=aligned,
            )
            decodes.append(Decode(transcript=transcript, truncated=len(ids) >= MAX_TOKENS))
        return decodes

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
    ) -> Decode | None:
        """The library's own decode of one window, at the given temperatures in turn."""
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
        # Without timestamps a window is one segment, or none where the library hears no speech.
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
            redecoded=True,
            words=ordered_words(words, len(waveform) * 1000 // SAMPLE_RATE),
        )
        return Decode(transcript=transcript, truncated=len(segment.tokens) >= MAX_TOKENS)


class LanguageModel:
    """Tells the language of speech with a multilingual faster-whisper model. Raises ModelError for any other."""

    def __init__(self, name: str, device: str) -> None:
        self._model = load_model("embedded-base" if name == "embedded" else name, device)
        if not self._model.model.is_multilingual:
            raise ModelError(
                f"the language model {name!r} knows only English"
                "; set transcribe.language_model to a multilingual model, or to null"
            )

    def language(self, waveforms: Sequence[Waveform]) -> tuple[str, float]:
        """The language (ISO 639-1) of one voice and its probability.

        Ten seconds of the first waveform without padding cost a sixth of Whisper's usual thirty, and are enough as a rule.
        Where they are not, as with clips of two seconds, it hears the usual thirty of all, and gives the mean.
        """
        name, probability = hear(self._model, waveforms[:1], EXCERPT_S, 0)
        return (name, probability) if probability >= SURE else hear(self._model, waveforms, WINDOW_S, WINDOW_S)


def hear(model: WhisperModel, waveforms: Sequence[Waveform], excerpt_s: int, padding_s: int) -> tuple[str, float]:
    """The likeliest language and its probability, as the mean over the first `excerpt_s` of each waveform."""
    total: dict[str, float] = {}
    for waveform in waveforms:
        features, _ = padded_features(model, [waveform[: excerpt_s * SAMPLE_RATE]], padding_s)
        for token, probability in model.model.detect_language(model.encode(features))[0]:
            total[token] = total.get(token, 0.0) + probability / len(waveforms)
    return _best_language(list(total.items()))


def padded_features(
    model: WhisperModel, waveforms: Sequence[Waveform], padding_s: float
) -> tuple[NDArray[np.float32], list[int]]:
    """Log-mel features [batch, mels, frames] zero-padded to the longest one and `padding_s`, and how many are not."""
    each = [model.feature_extractor(waveform)[:, :-1] for waveform in waveforms]
    frames = [features.shape[1] for features in each]
    width = min(max(frames) + round(padding_s * FRAMES_PER_SECOND), WINDOW_S * FRAMES_PER_SECOND)
    width += width % 2  # the encoder halves the frames
    batch = np.zeros((len(each), each[0].shape[0], width), np.float32)
    for row, features in enumerate(each):
        batch[row, :, : features.shape[1]] = features
    return batch, frames


def _best_language(probabilities: list[tuple[str, float]]) -> tuple[str, float]:
    token, probability = max(probabilities, key=lambda pair: (pair[1], pair[0]))
    return token.removeprefix("<|").removesuffix("|>"), probability


def _heard_as(decode: Decode, language: str, probability: float | None) -> Decode:
    return replace(decode, transcript=replace(decode.transcript, language=language, language_probability=probability))
