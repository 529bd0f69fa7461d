"""The original recognizer: openai-whisper, in batches of whole thirty-second windows (its encoder takes no others)."""

from collections.abc import Sequence
from typing import Any

import torch
import whisper
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from voxbeam.models.oom import in_batches
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.segment import Transcript, Word
from voxbeam.storage.cache import local_model
from voxbeam.transforms.asr.base import (
    AFTER_WORD,
    BEAM,
    BEFORE_WORD,
    FALLBACK,
    MAX_TOKENS,
    SAMPLE_RATE,
    SEED,
    Decode,
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
    """Recognizer on PyTorch. `padding_s` does not apply to it: every waveform is padded to thirty seconds.

    The model is one of whisper's own names, or the path or bucket address of a checkpoint; whisper loads it with
    `weights_only`, so it cannot run code.
    """

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        if config.model == "embedded":
            raise ModelError(
                "the embedded recognizer is stored for faster-whisper"
                "; set transcribe.engine to faster-whisper, or transcribe.model to a model of openai-whisper"
            )
        self._config, self._device = config, device
        self._model = whisper.load_model(str(local_model(config.model)), device=device).eval()
        self.multilingual: bool = self._model.is_multilingual
        tokenizer = self._tokenizer("en")
        self._numerals = numeral_tokens(tokenizer.encoding.decode, tokenizer.eot)
        self._options: dict[str, Any] = {
            "without_timestamps": True,
            "sample_len": MAX_TOKENS,
            "fp16": device == "cuda",
        }

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Decode]:
        require_window(waveforms)
        require_language(language, list(LANGUAGES) if self.multilingual else ["en"])
        decodes: dict[int, Decode] = {}

        def some(rows: Sequence[int]) -> list[Decode]:
            return self._transcribe_batch([waveforms[i] for i in rows], language, numerals)

        for batch in batches(waveforms, self._config.batch):
            decodes.update(zip(batch, in_batches(some, batch, len(batch)), strict=True))
        return [decodes[i] for i in range(len(waveforms))]

    def redecode(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Decode | None]:
        return [self._decode_alone(*pair) for pair in zip(waveforms, languages, strict=True)]

    def _tokenizer(self, language: str) -> Tokenizer:
        return get_tokenizer(self.multilingual, num_languages=self._model.num_languages, language=language)

    @torch.no_grad()
    def _transcribe_batch(self, waveforms: list[Waveform], language: str | None, numerals: bool) -> list[Decode]:
        mels = torch.stack([self._mel(waveform) for waveform in waveforms])
        encoded = self._model.embed_audio(mels)
        heard: list[tuple[str, float | None]] = [("en", None)] * len(waveforms)
        if self.multilingual:
            _, told = whisper.decoding.detect_language(self._model, encoded, self._tokenizer("en"))
            heard = [max(probabilities.items(), key=lambda pair: (pair[1], pair[0])) for probabilities in told]
        written = [language or name for name, _ in heard]
        suppressed = [-1] if numerals else [-1, *self._numerals]
        decodes: dict[int, Decode] = {}
        for each in sorted(set(written)):
            rows = [i for i, name in enumerate(written) if name == each]
            options = whisper.DecodingOptions(language=each, suppress_tokens=suppressed, **self._options)
            for i, result in zip(rows, whisper.decode(self._model, encoded[rows], options), strict=True):
                transcript = Transcript(
                    text=result.text.strip(),
                    language=heard[i][0],
                    language_probability=heard[i][1],
                    avg_logprob=result.avg_logprob,
                    no_speech_prob=result.no_speech_prob,
                    compression_ratio=result.compression_ratio,
                    temperature=0.0,
                    redecoded=False,
                    words=self._words(mels[i], result.tokens, each, len(waveforms[i])) if self._config.word_timestamps else (),
                )
                decodes[i] = Decode(transcript=transcript, truncated=len(result.tokens) >= MAX_TOKENS)
        return [decodes[i] for i in range(len(waveforms))]

    def _mel(self, waveform: Waveform) -> torch.Tensor:
        """Log-mel features [mels, 3000] of a waveform padded to thirty seconds."""
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
        return ordered_words([(w.word, w.start, w.end, w.probability) for w in aligned], samples * 1000 // SAMPLE_RATE)

    def _decode_alone(self, waveform: Waveform, language: str) -> Decode | None:
        """The library's own decode of one window, with its temperature fallback."""
        devices = [torch.cuda.current_device()] if self._device == "cuda" else []
        # Seeding for each waveform makes its samples independent of earlier ones; the fork spares other stages.
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
        # Without timestamps a window is one segment, or none where the library hears no speech.
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
            redecoded=True,
            words=ordered_words(words, len(waveform) * 1000 // SAMPLE_RATE),
        )
        return Decode(transcript=transcript, truncated=len(segment["tokens"]) >= MAX_TOKENS)
