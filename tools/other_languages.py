"""Passages in other languages than English: by the voices of Kokoro where they are at hand, else by espeak-ng."""

import ctypes
import json
from pathlib import Path

import espeakng_loader
import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray
from phonemizer.backend import EspeakBackend
from phonemizer.backend.espeak.wrapper import EspeakWrapper

from voxbeam.schemas.formats import ASR_RATE

Wave = NDArray[np.float32]
TEXTS = {
    "es": "Anoche llovió mucho en el pueblo, y por la mañana los niños jugaban en la plaza mientras sus padres tomaban café.",
    "fr-fr": "Hier soir nous avons marché longtemps au bord de la rivière avant de rentrer à la maison pour le dîner.",
    "it": "Domani mattina partiamo presto per la montagna, perché vogliamo vedere il sole che sorge sopra il lago.",
    "pt-br": "Quando chegamos à praia, o vento já tinha parado e as crianças brincavam na areia perto do mar.",
}
_VOICES = {"es": ("ef_dora", "em_alex"), "fr-fr": ("ff_siwis",), "it": ("if_sara", "im_nicola"), "pt-br": ("pf_dora", "pm_alex")}
_KOKORO_RATE, _LEVEL = 24_000, 0.06


class OtherLanguages:
    """Speaks one of TEXTS at a time."""

    def __init__(self, kokoro: Path | None) -> None:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        self.home, self.said = kokoro, 0
        if kokoro is not None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.net = onnxruntime.InferenceSession(str(kokoro / "kokoro-v1.0.int8.onnx"), options)
            self.vocabulary: dict[str, int] = json.loads((kokoro / "vocab.json").read_text())["vocab"]

    def say(self, rng: np.random.Generator) -> tuple[str, Wave]:
        """A label of the voice, and 4 to 8 s at 16 kHz."""
        language = list(TEXTS)[self.said % len(TEXTS)]
        self.said += 1
        if self.home is None:
            wave_S, voice = _espeak(TEXTS[language], language), f"espeak-{language}"
        else:
            voice = str(rng.choice(_VOICES[language]))
            wave_S = self._kokoro(TEXTS[language], language, voice, float(rng.uniform(0.9, 1.15)))
        return voice, np.asarray(wave_S * (_LEVEL / np.sqrt(np.mean(np.square(wave_S)))), np.float32)

    def _kokoro(self, text: str, language: str, voice: str, speed: float) -> Wave:
        assert self.home is not None
        backend = EspeakBackend(language, preserve_punctuation=True, with_stress=True, language_switch="remove-flags")
        tokens = [self.vocabulary[c] for c in backend.phonemize([text])[0].strip() if c in self.vocabulary][:508]
        styles = np.fromfile(self.home / "voices" / f"{voice}.bin", np.float32).reshape(-1, 256)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[min(len(tokens), len(styles)) - 1][None],
            "speed": np.array([speed], np.float32),
        }
        return np.asarray(soxr.resample(self.net.run(None, inputs)[0].ravel(), _KOKORO_RATE, ASR_RATE), np.float32)


def _espeak(text: str, language: str) -> Wave:
    """Speech of espeak-ng by its C interface."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    heard: list[NDArray[np.int16]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def keep(wave: "ctypes._Pointer[ctypes.c_short]", samples: int, events: int) -> int:
        if samples > 0:
            heard.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        return 0

    retrieval = 1
    rate = library.espeak_Initialize(retrieval, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    library.espeak_SetSynthCallback(keep)
    library.espeak_SetVoiceByName(language.encode())
    content = text.encode()
    library.espeak_Synth(content, len(content) + 1, 0, 0, 0, 1, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    return np.asarray(soxr.resample(np.concatenate(heard).astype(np.float32) / 32768, rate, ASR_RATE), np.float32)
