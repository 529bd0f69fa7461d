"""Decode: a unit's window of a recording as mono sound at the models' rates, in a process that may be killed."""

from dataclasses import replace
from pathlib import Path

from assets.storage import open_local
from schemas.config import DecodeConfig
from transforms.audio_file import Limits, Shape
from transforms.sandbox import Sandbox
from transforms.stage import UnitStage, UnitWork, once_per_process


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
    return Sandbox(memory_mb)


def probe_safely(path: Path, config: DecodeConfig) -> Shape:
    """`probe_file` inside the sandbox."""
    shape: Shape = _sandbox(config.memory_mb).call(
        "transforms.audio_file:probe_file", (path, limits_of(config)), config.timeout_s
    )
    return shape


class Decode(UnitStage):
    """Fills `audio` and `peak`."""

    name = "decode"

    def __init__(self, config: DecodeConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, work: UnitWork) -> UnitWork:
        unit = work.unit
        with open_local(unit.recording.uri) as path:
            audio, peak = _sandbox(self.config.memory_mb).call(
                "transforms.audio_window:decode",
                (path, limits_of(self.config), unit.start_ms, unit.end_ms, unit.margin_ms),
                self.config.timeout_s,
            )
        return replace(work, audio=audio, peak=peak)
