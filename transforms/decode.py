"""Decode: a unit's window of a recording as mono sound at the models' rates, in a process that may be killed."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import ObjectReplacedError, StageError
from voxbeam.storage.store import Fill, open_sparse
from voxbeam.transforms.audio.file import Limits, Shape
from voxbeam.transforms.audio.sandbox import Sandbox
from voxbeam.transforms.audio.sparse_file import SparseFile
from voxbeam.transforms.base import RunStage, UnitStage, UnitWork, once_per_process
from voxbeam.transforms.prefetch import RunAhead

AHEAD = 2
"""windows that wait, decoded, for a GPU; 190 MB each at the default of 20 minutes, and a decoder process each"""


def limits_of(config: DecodeConfig) -> Limits:
    """The part of the configuration that says what a file may look like."""
    return Limits(
        max_sample_rate=config.max_sample_rate,
        max_channels=config.max_channels,
        min_duration_s=config.min_duration_s,
        max_duration_s=config.max_duration_s,
    )


@once_per_process
def _sandbox(memory_mb: int) -> Sandbox:
    return Sandbox(memory_mb, children=AHEAD)


def probe_safely(path: Path, config: DecodeConfig, fill: Fill | None = None) -> Shape:
    """`probe_file` inside the sandbox; `fill` as `open_sparse` gives it."""
    shape: Shape = _call("voxbeam.transforms.audio.file:probe_file", path, config, fill)
    return shape


def _call(function: str, path: Path, config: DecodeConfig, fill: Fill | None, *arguments: int) -> Any:
    file = SparseFile(path) if fill else path
    try:
        return _sandbox(config.memory_mb).call(function, (file, limits_of(config), *arguments), config.timeout_s, fill)
    except ObjectReplacedError as error:
        raise StageError("replaced", str(error), "build again when nobody writes to the input any more") from error


class Decode(UnitStage):
    """Fills `audio` and `peak`. Where the models run on a GPU, the next windows are decoded meanwhile."""

    name = "decode"
    lock = nullcontext()  # no model here, and the sandbox knows how many may decode at once

    def __init__(self, config: DecodeConfig, device: str = "cpu") -> None:
        super().__init__()
        self.config, self.device = config, device

    def at_work(self) -> RunStage:
        return RunAhead(self, AHEAD) if self.device == "cuda" else RunStage(self)

    def run(self, work: UnitWork) -> UnitWork:
        unit = work.unit
        with open_sparse(unit.recording.uri) as (path, fill):
            audio, peak = _call(
                "voxbeam.transforms.audio.window:decode", path, self.config, fill, unit.start_ms, unit.end_ms, unit.margin_ms
            )
        return replace(work, audio=audio, peak=peak)
