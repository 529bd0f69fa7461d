"""Language detection by multilingual faster-whisper models."""

from collections.abc import Sequence

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray

from voxbeam.models.whisper_models import load_model
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.asr.base import WINDOW_S, Waveform

FRAMES_PER_SECOND = 100
"""of log-mel features"""
EXCERPT_S = 10
"""how much of a waveform language detection uses at first"""
CONFIDENT = 0.8
"""a language of at least this probability is taken; otherwise it is detected again on Whisper's full window, which costs more"""


class LanguageModel:
    """Language detection by a multilingual faster-whisper model. Raises ModelError if the model is not multilingual."""

    def __init__(self, name: str, device: str) -> None:
        self._model = load_model("embedded-base" if name == "embedded" else name, device)
        if not self._model.model.is_multilingual:
            raise ModelError(
                f"the language model {name!r} is English only",
                remedy="set transcribe.language_model to a multilingual model, or to null",
            )

    def detect(self, waveforms: Sequence[Waveform]) -> tuple[str, float]:
        """The language (ISO 639-1) of one speaker's waveforms, and its probability.

        Ten seconds of the first waveform without padding cost a sixth of Whisper's usual 30 s, and are mostly enough. If not, for
        example for clips of two seconds, the result is the mean over Whisper's full window of all waveforms.
        """
        name, probability = detect_language(self._model, waveforms[:1], EXCERPT_S, 0)
        if probability >= CONFIDENT:
            return name, probability
        return detect_language(self._model, waveforms, WINDOW_S, WINDOW_S)

    @staticmethod
    def is_confident(probability: float) -> bool:
        """Whether a language of this probability is taken without further questions."""
        return probability >= CONFIDENT


def detect_language(model: WhisperModel, waveforms: Sequence[Waveform], excerpt_s: int, padding_s: int) -> tuple[str, float]:
    """The most probable language and its probability, as the mean over the first `excerpt_s` of each waveform."""
    total: dict[str, float] = {}
    for waveform in waveforms:
        features, _ = padded_features(model, [waveform[: excerpt_s * ASR_RATE]], padding_s)
        for token, probability in model.model.detect_language(model.encode(features))[0]:
            total[token] = total.get(token, 0.0) + probability / len(waveforms)
    return most_probable_language(list(total.items()))


def padded_features(
    model: WhisperModel, waveforms: Sequence[Waveform], padding_s: float
) -> tuple[NDArray[np.float32], list[int]]:
    """Log-mel features [batch, mels, frames], zero-padded to the longest plus `padding_s`; and each one's frames without it."""
    each = [model.feature_extractor(waveform)[:, :-1] for waveform in waveforms]
    frames = [features.shape[1] for features in each]
    width = min(max(frames) + round(padding_s * FRAMES_PER_SECOND), WINDOW_S * FRAMES_PER_SECOND)
    width += width % 2  # the encoder halves the number of frames
    batch = np.zeros((len(each), each[0].shape[0], width), np.float32)
    for row, features in enumerate(each):
        batch[row, :, : features.shape[1]] = features
    return batch, frames


def most_probable_language(probabilities: list[tuple[str, float]]) -> tuple[str, float]:
    """(ISO 639-1 code, probability) of Whisper's language tokens and their probabilities."""
    token, probability = max(probabilities, key=lambda pair: (pair[1], pair[0]))
    return token.removeprefix("<|").removesuffix("|>"), probability
