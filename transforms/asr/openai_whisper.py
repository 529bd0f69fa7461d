"""The ASR backend openai-whisper, in batches of 30 s windows (its encoder takes no others)."""

from collections.abc import Sequence
from typing import Any

import torch
import whisper
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Transcript, Word
from voxbeam.storage.cache import resolve_model
from voxbeam.transforms.asr.base import (
    AFTER_WORD,
    BEAM,
    BEFORE_WORD,
    FALLBACK,
    MAX_TOKENS,
    SEED,
    Hypothesis,
    Waveform,
    batches,
    numeral_tokens,
    ordered_words,
    require_language,
    require_window,
)

HOP = 160
"""samples per mel frame"""


class OpenAIWhisper:
    """ASR backend on PyTorch. `padding_s` does not apply: every waveform is padded to 30 s.

    The model is one of whisper's names, or the path or bucket address of a checkpoint. whisper loads checkpoints with
    `weights_only`, so they cannot run code.
    """

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        if config.model == "embedded":
            raise ModelError(
                "the embedded ASR model is in the format of faster-whisper",
                remedy="set transcribe.engine to faster-whisper, or transcribe.model to a model of openai-whisper",
            )
        self._config, self._device = config, device
        self._model = whisper.load_model(str(resolve_model(config.model)), device=device).eval()
        self.multilingual: bool = self._model.is_multilingual
        tokenizer = self._tokenizer("en")
        self._numerals = numeral_tokens(tokenizer.encoding.decode, tokenizer.eot)
        self._options: dict[str, Any] = {
            "without_timestamps": True,
            "sample_len": MAX_TOKENS,
            "fp16": device == "cuda",
        }

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Hypothesis]:
        require_window(waveforms)
        require_language(language, list(LANGUAGES) if self.multilingual else ["en"])
        hypotheses: dict[int, Hypothesis] = {}

        def run_rows(rows: Sequence[int]) -> list[Hypothesis]:
            return self._transcribe_batch([waveforms[i] for i in rows], language, numerals)

        for batch in batches(waveforms, self._config.batch):
            hypotheses.update(zip(batch, map_with_oom_backoff(run_rows, batch, len(batch)), strict=True))
        return [hypotheses[i] for i in range(len(waveforms))]

    def decode_with_fallback(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Hypothesis | None]:
        return [self._decode_alone(*pair) for pair in zip(waveforms, languages, strict=True)]

    def _tokenizer(self, language: str) -> Tokenizer:
        return get_tokenizer(self.multilingual, num_languages=self._model.num_languages, language=language)

    @torch.no_grad()
    def _transcribe_batch(self, waveforms: list[Waveform], language: str | None, numerals: bool) -> list[Hypothesis]:
        mels = torch.stack([self._mel(waveform) for waveform in waveforms])
        encoded = self._model.embed_audio(mels)
        detected: list[tuple[str, float | None]] = [("en", None)] * len(waveforms)
        if self.multilingual:
            _, by_waveform = whisper.decoding.detect_language(self._model, encoded, self._tokenizer("en"))
            detected = [max(probabilities.items(), key=lambda pair: (pair[1], pair[0])) for probabilities in by_waveform]
        written = [language or name for name, _ in detected]
        suppressed = [-1] if numerals else [-1, *self._numerals]
        hypotheses: dict[int, Hypothesis] = {}
        for each in sorted(set(written)):
            rows = [i for i, name in enumerate(written) if name == each]
            options = whisper.DecodingOptions(language=each, suppress_tokens=suppressed, **self._options)
            for i, result in zip(rows, whisper.decode(self._model, encoded[rows], options), strict=True):
                transcript = Transcript(
                    text=result.text.strip(),
                    language=detected[i][0],
                    language_probability=detected[i][1],
                    avg_logprob=result.avg_logprob,
                    no_speech_prob=result.no_speech_prob,
                    compression_ratio=result.compression_ratio,
                    temperature=0.0,
                    used_fallback=False,
                    words=self._words(mels[i], result.tokens, each, len(waveforms[i])) if self._config.word_timestamps else (),
                )
                hypotheses[i] = Hypothesis(transcript=transcript, truncated=len(result.tokens) >= MAX_TOKENS)
        return [hypotheses[i] for i in range(len(waveforms))]

    def _mel(self, waveform: Waveform) -> torch.Tensor:
        """Log-mel features [mels, 3000] of a waveform padded to 30 s."""
        padded = whisper.pad_or_trim(torch.from_numpy(waveform))
        mel = whisper.log_mel_spectrogram(padded, self._model.dims.n_mels, device=self._device)
        return mel.half() if self._device == "cuda" else mel

    def _words(self, mel: torch.Tensor, tokens: list[int], language: str, samples: int) -> tuple[Word, ...]:
        tokenizer = self._tokenizer(language)
        text = [token for token in tokens if token < tokenizer.eot]
        if not text:
            return ()
        aligned = find_alignment(self._model, tokenizer, text, mel, samples // HOP)
        merge_punctuations(aligned, BEFORE_WORD, AFTER_WORD)
        return ordered_words([(w.word, w.start, w.end, w.probability) for w in aligned], samples * 1000 // ASR_RATE)

    def _decode_alone(self, waveform: Waveform, language: str) -> Hypothesis | None:
        """whisper's own decoding of one window, with its temperature fallback; None if it finds no speech."""
        devices = [torch.cuda.current_device()] if self._device == "cuda" else []
        # Seeding per waveform makes its samples independent of earlier ones; fork_rng restores the generators for other stages.
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(SEED)
            result = whisper.transcribe(
                self._model,
                waveform,
                language=language,
                temperature=(0.0, *FALLBACK),
                compression_ratio_threshold=self._config.max_compression_ratio,
                logprob_threshold=self._config.min_avg_logprob,
                condition_on_previous_text=False,
                word_timestamps=self._config.word_timestamps,
                beam_size=BEAM,
                best_of=BEAM,
                **self._options,
            )
        # Without timestamps a window is one segment, or none if the library finds no speech.
        if not result["segments"]:
            return None
        segment = result["segments"][0]
        words = [(w["word"], w["start"], w["end"], w["probability"]) for w in segment.get("words", ())]
        transcript = Transcript(
            text=segment["text"].strip(),
            language=language,
            language_probability=None,
            avg_logprob=segment["avg_logprob"],
            no_speech_prob=segment["no_speech_prob"],
            compression_ratio=segment["compression_ratio"],
            temperature=float(segment["temperature"]),
            used_fallback=True,
            words=ordered_words(words, len(waveform) * 1000 // ASR_RATE),
        )
        return Hypothesis(transcript=transcript, truncated=len(segment["tokens"]) >= MAX_TOKENS)
