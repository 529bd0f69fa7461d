"""Decode: a unit's window of a recording as mono sound at the models' rates, in a process that may be killed."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from assets.storage import open_local
from schemas.config import DecodeConfig
from transforms.ahead import RunAhead
from transforms.audio_file import Limits, Shape
from transforms.sandbox import Sandbox
from transforms.stage import RunStage, UnitStage, UnitWork, once_per_process

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


def probe_safely(path: Path, config: DecodeConfig) -> Shape:
    """`probe_file` inside the sandbox."""
    shape: Shape = _sandbox(config.memory_mb).call(
        "transforms.audio_file:probe_file", (path, limits_of(config)), config.timeout_s
    )
    return shape


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
        with open_local(unit.recording.uri) as path:
            audio, peak = _sandbox(self.config.memory_mb).call(
                "transforms.audio_window:decode",
                (path, limits_of(self.config), unit.start_ms, unit.end_ms, unit.margin_ms),
                self.config.timeout_s,
            )
        return replace(work, audio=audio, peak=peak)
