"""Decode: a unit's window of a recording as mono sound at the models' rates, in a process that may be killed."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import ObjectReplacedError, StageError
from voxbeam.schemas.recording import Source
from voxbeam.storage.store import Fill, open_sparse, sha256_of
from voxbeam.transforms.audio.file import AudioInfo, Limits
from voxbeam.transforms.audio.sandbox import Sandbox
from voxbeam.transforms.audio.sparse_file import SparseFile
from voxbeam.transforms.base import RunStage, UnitStage, UnitWork, once_per_process
from voxbeam.transforms.prefetch import RunAhead

AHEAD = 2
"""windows that wait, decoded, for a GPU; 190 MB each at the default of 20 minutes, and a decoder process each"""
BUILD_AGAIN = "build again when nobody writes to the input any more"


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


def probe_sandboxed(path: Path, config: DecodeConfig) -> AudioInfo:
    """`probe_file` inside the sandbox."""
    info: AudioInfo = _call("voxbeam.transforms.audio.file:probe_file", path, config, None, limits_of(config))
    return info


def estimate_sandboxed(path: Path, config: DecodeConfig, fill: Fill | None = None) -> AudioInfo:
    """`estimate_file` inside the sandbox; `fill` as `open_sparse` gives it."""
    info: AudioInfo = _call("voxbeam.transforms.audio.file:estimate_file", path, config, fill, limits_of(config))
    return info


def audio_info(source: Source) -> AudioInfo:
    """What the decoder needs to know of a probed recording."""
    return AudioInfo(
        format=source.format,
        sample_rate=source.sample_rate,
        channels=source.channels,
        frames=source.frames,
        decoder=source.decoder,
    )


def _call(function: str, path: Path, config: DecodeConfig, fill: Fill | None, *arguments: Any) -> Any:
    file = SparseFile(path) if fill else path
    with replaced_is_a_stage_error():
        return _sandbox(config.memory_mb).call(function, (file, *arguments), config.timeout_s, fill)


@contextmanager
def replaced_is_a_stage_error() -> Iterator[None]:
    """An object that is replaced while a build runs costs its recording, not the build."""
    try:
        yield
    except ObjectReplacedError as error:
        raise StageError("replaced", str(error), BUILD_AGAIN) from error


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
        unit, source = work.unit, work.unit.source
        window = audio_info(source), unit.start_ms, unit.end_ms, unit.margin_ms
        with replaced_is_a_stage_error(), open_sparse(unit.recording.uri, source.etag) as (path, fill):
            audio, peak = _call("voxbeam.transforms.audio.window:decode", path, self.config, fill, *window)
            # The bytes that are decoded must be those that were hashed; a plan hashes nothing.
            if fill is None and source.sha256 and sha256_of(path) != source.sha256:
                raise StageError("replaced", f"{path.name} changed after it was probed", BUILD_AGAIN)
        return replace(work, audio=audio, peak=peak)
