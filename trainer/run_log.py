"""The metrics of a run: `metrics.jsonl` beside the checkpoints, in a folder or a bucket, and TensorBoard files in a folder.

A run that resumes at a step drops what it had logged beyond: those steps are made again. A bucket has no appending, so there the
file is written whole with every checkpoint.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from voxbeam.storage.store import Store, is_bucket, local_path

_NAME = "metrics.jsonl"


class RunLog:
    """Appends to the log of a run that begins or resumes after `step` steps."""

    def __init__(self, run_uri: str, step: int) -> None:
        self.store = Store(run_uri)
        self._lines: list[dict[str, Any]] = [line for line in self._read() if line["step"] <= step]
        self._write_all()
        self._path: Path | None = None
        self._writer: SummaryWriter | None = None
        if not is_bucket(run_uri):
            self._path = local_path(run_uri) / _NAME
            self._writer = SummaryWriter(str(local_path(run_uri) / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Logs metrics of a step. What is not finite is null, since JSON has no other word for it."""
        line = {"step": step, **{name: value if math.isfinite(value) else None for name, value in metrics.items()}}
        self._lines.append(line)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Writes to a bucket what is not there yet."""
        if self._path is None:
            self._write_all()

    def _write_all(self) -> None:
        if self._lines or self.store.exists(_NAME):
            self.store.replace(_NAME, "".join(json.dumps(line) + "\n" for line in self._lines).encode())

    def close(self) -> None:
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def _read(self) -> list[dict[str, Any]]:
        if not self.store.exists(_NAME):
            return []
        lines = self.store.get(_NAME).decode().splitlines()
        found = []
        for number, line in enumerate(lines):
            try:
                found.append(json.loads(line))
            except ValueError:
                if number + 1 < len(lines):  # the last one was cut off when the run was killed
                    raise
        return found
