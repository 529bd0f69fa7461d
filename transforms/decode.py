"""Decode: a unit's window of a recording as mono audio at the models' sample rates, in a sandboxed process."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import ObjectReplacedError, StageError
from voxbeam.schemas.recording import SourceInfo
from voxbeam.storage.store import Fill, open_sparse, sha256_of
from voxbeam.transforms.audio.file import AudioInfo, Limits
from voxbeam.transforms.audio.sandbox import Sandbox
from voxbeam.transforms.audio.sparse_file import SparseFile
from voxbeam.transforms.base import RunStage, UnitStage, UnitState, once_per_process
from voxbeam.transforms.prefetch import PrefetchStage

PREFETCHED_UNITS = 2
"""units that are decoded while a GPU works on another; each takes 190 MB for the default window of 20 minutes, and a process"""
BUILD_AGAIN = "build again when nothing writes to the input any more"


def make_limits(config: DecodeConfig) -> Limits:
    """The part of the configuration that limits the format of a file."""
    return Limits(
        max_sample_rate=config.max_sample_rate,
        max_channels=config.max_channels,
        min_duration_s=config.min_duration_s,
        max_duration_s=config.max_duration_s,
    )


@once_per_process
def _sandbox(memory_mb: int) -> Sandbox:
    return Sandbox(memory_mb, children=PREFETCHED_UNITS)


def probe_sandboxed(path: Path, config: DecodeConfig) -> AudioInfo:
    """`probe_file` in the sandbox."""
    info: AudioInfo = _call("voxbeam.transforms.audio.file:probe_file", path, config, None, make_limits(config))
    return info


def estimate_sandboxed(path: Path, config: DecodeConfig, fill: Fill | None = None) -> AudioInfo:
    """`estimate_file` in the sandbox. `fill` is the function that `open_sparse` gives for a file in a bucket."""
    info: AudioInfo = _call("voxbeam.transforms.audio.file:estimate_file", path, config, fill, make_limits(config))
    return info


def audio_info(source: SourceInfo) -> AudioInfo:
    """The part of a probed recording's information that decoding needs."""
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
    """Turns ObjectReplacedError into StageError: an object that is replaced during a build costs its recording, not the build."""
    try:
        yield
    except ObjectReplacedError as error:
        raise StageError("replaced", str(error), BUILD_AGAIN) from error


class DecodeAudio(UnitStage):
    """Fills `audio` and `peak`. If the models run on a GPU, the next units are decoded at the same time."""

    name = "decode"
    lock = nullcontext()  # it uses no model, and the sandbox limits how many decode at once

    def __init__(self, config: DecodeConfig, device: str = "cpu") -> None:
        super().__init__()
        self.config, self.device = config, device

    def make_dofn(self) -> RunStage:
        return PrefetchStage(self, PREFETCHED_UNITS) if self.device == "cuda" else RunStage(self)

    def run(self, state: UnitState) -> UnitState:
        unit, source = state.unit, state.unit.source
        window = audio_info(source), unit.start_ms, unit.end_ms, unit.margin_ms
        with replaced_is_a_stage_error(), open_sparse(unit.recording.uri, source.etag) as (path, fill):
            audio, peak = _call("voxbeam.transforms.audio.window:decode", path, self.config, fill, *window)
            # The decoded bytes must be the hashed ones. A plan does not hash.
            if fill is None and source.sha256 and sha256_of(path) != source.sha256:
                raise StageError("replaced", f"{path.name} changed after it was probed", BUILD_AGAIN)
        return replace(state, audio=audio, peak=peak)
