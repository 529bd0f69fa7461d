"""What a training run says about itself: a progress line, log.jsonl, and TensorBoard with sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from voxbeam.schemas.formats import CODEC_RATE


class Journal:
    """Writes into a run's folder; a resumed run goes on where its step is."""

    def __init__(self, folder: Path, step: int) -> None:
        self.log = folder / "log.jsonl"
        self.board = SummaryWriter(folder / "tensorboard", purge_step=step)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.bar = self.progress.add_task("", total=1.0)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        self.board.close()

    def tick(self, step: int, done: float, losses: Mapping[str, float]) -> None:
        """Shows where the run is; `done` is its share in 0..1."""
        self.progress.update(self.bar, completed=done, description=f"step {step:,}  mel {losses['mel']:.3f}")

    def write(self, step: int, seconds: float, values: Mapping[str, Any]) -> None:
        """One line of log.jsonl, and a point in each curve."""
        with self.log.open("a") as log:
            log.write(json.dumps({"step": step, "seconds": round(seconds, 1)} | dict(values)) + "\n")
        for name, value in values.items():
            if isinstance(value, list):
                for i, each in enumerate(value, start=1):
                    self.board.add_scalar(f"{name}/book {i}", each, step)
            else:
                self.board.add_scalar(name, value, step)
        perplexity = f", least perplexity {min(values['perplexity']):.0f}" if "perplexity" in values else ""
        self.progress.console.print(f"step {step:,}: held-out mel {values['held_out_mel']:.4f}{perplexity}", highlight=False)

    def play(self, step: int, recorded_S: Tensor, decoded_S: Tensor) -> None:
        """One held-out utterance, as it was and as it comes out."""
        for name, wave_S in (("recorded", recorded_S), ("decoded", decoded_S)):
            self.board.add_audio(name, wave_S.clamp(-1, 1)[None], step, sample_rate=CODEC_RATE)
