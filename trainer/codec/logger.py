"""Logs of a codec training run: log.jsonl, TensorBoard with audio, and a callback for progress displays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from voxbeam.schemas.formats import CODEC_RATE


@dataclass(frozen=True, kw_only=True)
class CodecTrainLog:
    """What `on_log` receives after every step, and after every evaluation."""

    step: int
    fraction_done: float
    """progress of the run, 0 to 1"""
    losses: Mapping[str, float]
    """of the step; after an evaluation, their means since the last one"""
    evaluation: Mapping[str, Any] | None = None
    """`held_out_mel` and, once there are codebooks, `perplexity` of each; None after a step"""


class RunLogger:
    """Writes into a run's folder. A resumed run overwrites TensorBoard points after its step."""

    def __init__(self, folder: Path, step: int, on_log: Callable[[CodecTrainLog], None] | None = None) -> None:
        self.path = folder / "log.jsonl"
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=step)
        self.on_log = on_log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def log_step(self, step: int, fraction_done: float, losses: Mapping[str, float]) -> None:
        """Reports one training step."""
        if self.on_log is not None:
            self.on_log(CodecTrainLog(step=step, fraction_done=fraction_done, losses=losses))

    def log_evaluation(
        self, step: int, seconds: float, fraction_done: float, losses: Mapping[str, float], evaluation: Mapping[str, Any]
    ) -> None:
        """Writes one line of log.jsonl and the TensorBoard scalars, and reports both."""
        values = dict(losses) | dict(evaluation)
        with self.path.open("a") as log:
            log.write(json.dumps({"step": step, "seconds": round(seconds, 1)} | values) + "\n")
        for name, value in values.items():
            if isinstance(value, list):
                for number, each in enumerate(value, start=1):
                    self.writer.add_scalar(f"{name}/codebook {number}", each, step)
            else:
                self.writer.add_scalar(name, value, step)
        if self.on_log is not None:
            self.on_log(CodecTrainLog(step=step, fraction_done=fraction_done, losses=losses, evaluation=evaluation))

    def log_audio(self, step: int, recorded_S: Tensor, decoded_S: Tensor) -> None:
        """Writes one held-out utterance, before and after the codec, to TensorBoard."""
        for name, wave_S in (("recorded", recorded_S), ("decoded", decoded_S)):
            self.writer.add_audio(name, wave_S.clamp(-1, 1)[None], step, sample_rate=CODEC_RATE)
