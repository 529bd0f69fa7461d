"""Diarize: × real time of the segmentation and embedding networks, and how much of a whole window runs on the CPU.

The embedding network needs torch and torchaudio alone. The rest needs pyannote.audio, and is skipped where that is missing.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from voxbeam.models.campplus import BANDS, FRAMES_PER_SECOND, load_campplus
from voxbeam.models.speech_activity import WINDOW_S as SEGMENTATION_S
from voxbeam.schemas.formats import ASR_RATE

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.results import Scalar
from benchmarks.gpu_parts.speech import load_speech

if TYPE_CHECKING:
    from voxbeam.schemas.config import DiarizeConfig
    from voxbeam.transforms.diarize import Diarizer

WINDOW_S = 1200
EXCERPT_S = 10


def measure(bench: Bench) -> None:
    batches = (2,) if bench.dry_run else (32, 128, 8)
    encoder = load_campplus().to(bench.device)
    for batch in batches:
        x_BTF = torch.randn(batch, EXCERPT_S * FRAMES_PER_SECOND, BANDS, device=bench.device)
        bench.measure("embedding network", {"batch": batch}, partial(forward, bench, encoder, x_BTF, float(batch * EXCERPT_S)))
    try:
        from voxbeam.models.pyannote_models import load_segmentation
        from voxbeam.schemas.config import DiarizeConfig
        from voxbeam.transforms.diarize import load_diarizer
    except ImportError as error:
        missing = error.name or str(error)
        for name in ("segmentation network", "window"):
            bench.skip(name, f"needs pyannote.audio and Beam: {missing} is missing; bring its wheel and its needs (docs/gpu.md)")
        return
    segmentation = load_segmentation().to(bench.device)
    for batch in batches:
        x_B1S = torch.rand(batch, 1, SEGMENTATION_S * ASR_RATE, device=bench.device) - 0.5
        audio_s = float(batch * SEGMENTATION_S)
        bench.measure("segmentation network", {"batch": batch}, partial(forward, bench, segmentation, x_B1S, audio_s))
    seconds = 12 if bench.dry_run else WINDOW_S
    config = DiarizeConfig(batch=2 if bench.dry_run else 32)
    diarizer = load_diarizer(config, "cuda" if bench.cuda else "cpu")
    settings = {"batch": config.batch, "seconds": seconds}
    bench.measure("window", settings, partial(window, bench, diarizer, config, seconds))


@torch.inference_mode()
def forward(bench: Bench, model: nn.Module, x: torch.Tensor, audio_s: float) -> Measured:
    """× real time of a network alone, on input of `audio_s` seconds."""
    return Measured(audio_s / bench.time(lambda: model(x), min_s=0.5), "× real time")


class ForwardTimer:
    """Adds up the seconds of a module's forward passes, including the device's work."""

    def __init__(self, bench: Bench, module: nn.Module) -> None:
        self.bench, self.seconds, self.began = bench, 0.0, 0.0
        module.register_forward_pre_hook(self._before)
        module.register_forward_hook(self._after)

    def _before(self, *_: object) -> None:
        self.bench.synchronize()
        self.began = time.perf_counter()

    def _after(self, *_: object) -> None:
        self.bench.synchronize()
        self.seconds += time.perf_counter() - self.began


def window(bench: Bench, diarizer: Diarizer, config: DiarizeConfig, seconds: float) -> Measured:
    """× real time of the product's stage over one window, and the time of two of its parts."""
    from voxbeam.transforms.diarize import diarize

    wave_S, source = load_speech(2 * seconds)
    # speech at 24 kHz, read as if it were at 16 kHz: slower than it was, which does not change the work
    pcm16k = np.resize(wave_S, round(seconds * ASR_RATE))
    diarize(diarizer, pcm16k[: 12 * ASR_RATE], 0, config)
    segmentation, stem = ForwardTimer(bench, diarizer.segmentation), ForwardTimer(bench, diarizer.encoder.head)
    bench.synchronize()
    began = time.perf_counter()
    found = diarize(diarizer, pcm16k, 0, config)
    took_s = time.perf_counter() - began
    notes: dict[str, Scalar] = {
        "segmentation_s": segmentation.seconds,
        "encoder_head_s": stem.seconds,
        "speakers": len(found.speakers),
        "input": source,
    }
    return Measured(seconds / took_s, "× real time", notes)
