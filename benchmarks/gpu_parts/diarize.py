"""Diarize: × real time of the segmentation and embedding networks, and how much of a whole window runs on the CPU.

The embedding network needs torch and torchaudio alone. The rest needs pyannote.audio, and is skipped where that is missing.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from voxbeam.models.ge2e import BANDS, PARTIAL_FRAMES, load_ge2e
from voxbeam.schemas.formats import ASR_RATE

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.speech import load_speech

WINDOW_S = 1200
SEGMENTATION_S = 5.0
STEP = 0.3
"""fraction of a segmentation window: the step of the default configuration"""


def measure(bench: Bench) -> None:
    batches = (2,) if bench.dry_run else (32, 128, 512, 8)
    encoder = load_ge2e().to(bench.device)
    for batch in batches:
        x_BTM = torch.rand(batch, PARTIAL_FRAMES, BANDS, device=bench.device)
        audio_s = batch * PARTIAL_FRAMES / 100
        bench.measure("embedding network", {"batch": batch}, partial(forward, bench, encoder, x_BTM, audio_s))
    try:
        from voxbeam.models.pyannote_models import EmbeddedDiarization, load_segmentation
    except ImportError as error:
        missing = error.name or str(error)
        for name in ("segmentation network", "window"):
            bench.skip(name, f"needs pyannote.audio: {missing} is missing; bring its wheel and those that it needs (docs/gpu.md)")
        return
    segmentation = load_segmentation().to(bench.device)
    for batch in batches:
        x_B1S = torch.rand(batch, 1, round(SEGMENTATION_S * ASR_RATE), device=bench.device) - 0.5
        audio_s = batch * SEGMENTATION_S
        bench.measure("segmentation network", {"batch": batch}, partial(forward, bench, segmentation, x_B1S, audio_s))
    seconds = 12 if bench.dry_run else WINDOW_S
    for batch in (2,) if bench.dry_run else (32, 256):
        settings = {"batch": batch, "seconds": seconds, "step": STEP}
        bench.measure("window", settings, partial(window, bench, EmbeddedDiarization(STEP, batch), seconds))


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


def window(bench: Bench, diarizer: Any, seconds: float) -> Measured:
    """× real time of the product's pipeline over one window, and the fraction of its time outside the networks."""
    clustering = {"method": "average", "threshold": 0.5, "min_cluster_size": 12}
    diarizer.instantiate({"segmentation": {"threshold": 0.5, "min_duration_off": 0.0}, "clustering": clustering})
    diarizer.to(bench.device)
    wave_S, source = load_speech(2 * seconds)
    # speech at 24 kHz, read as if it were at 16 kHz: slower than it was, which does not change the work
    waveform = torch.from_numpy(np.resize(wave_S, round(seconds * ASR_RATE)))[None]
    diarizer({"waveform": waveform[:, : 12 * ASR_RATE], "sample_rate": ASR_RATE, "uri": "warm-up"})
    segmentation = ForwardTimer(bench, diarizer._segmentation.model)
    embedding = ForwardTimer(bench, diarizer._embedding.model_.encoder)
    bench.synchronize()
    began = time.perf_counter()
    output = diarizer({"waveform": waveform, "sample_rate": ASR_RATE, "uri": "window"})
    took_s = time.perf_counter() - began
    labels = len(getattr(output, "speaker_diarization", output).labels())
    notes = {
        "fraction_outside_networks": 1 - (segmentation.seconds + embedding.seconds) / took_s,
        "segmentation_s": segmentation.seconds,
        "embedding_s": embedding.seconds,
    }
    return Measured(seconds / took_s, "× real time", {**notes, "speakers": labels, "input": source})
