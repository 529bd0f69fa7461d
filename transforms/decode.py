"""Decode: a unit's window of a recording as mono audio at the models' sample rates, in a sandboxed process."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxbeam.schemas.audio import Audio
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import ObjectForbiddenError, ObjectReplacedError, StageError
from voxbeam.schemas.formats import ASR_SAMPLES_PER_MS, CODEC_SAMPLES_PER_MS
from voxbeam.schemas.recording import SourceInfo
from voxbeam.schemas.unit import Unit
from voxbeam.storage.environment import environment_errors
from voxbeam.storage.local_copies import open_sparse, sha256_of
from voxbeam.storage.store import Fill
from voxbeam.transforms.audio.channels import POLICIES
from voxbeam.transforms.audio.checks import AudioInfo, Limits
from voxbeam.transforms.audio.sandbox import Sandbox
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
    return _info(_call("probe", path, config, None, {"limits": asdict(make_limits(config))})[0])


def estimate_sandboxed(path: Path, config: DecodeConfig, fill: Fill | None = None) -> AudioInfo:
    """`estimate_file` in the sandbox. `fill` is the function that `open_sparse` gives for a file in a bucket."""
    return _info(_call("estimate", path, config, fill, {"limits": asdict(make_limits(config))})[0])


def decode_sandboxed(path: Path, config: DecodeConfig, fill: Fill | None, unit: Unit) -> tuple[Audio, float]:
    """`decode` in the sandbox: the unit's window of a file, and its largest absolute sample."""
    arguments = {
        "info": asdict(audio_info(unit.source)),
        "start_ms": unit.start_ms,
        "end_ms": unit.end_ms,
        "margin_ms": unit.margin_ms,
        "track": unit.track,
    }
    reply, arrays = _call("decode", path, config, fill, arguments)
    start_ms, end_ms, peak = reply.get("start_ms"), reply.get("end_ms"), reply.get("peak")
    if not (isinstance(start_ms, int) and isinstance(end_ms, int) and isinstance(peak, float)):
        raise _not_audio()
    if len(arrays) != 3 or len(arrays[0]) % 4 or len(arrays[1]) % 4 or len(arrays[2]) % 8:
        raise _not_audio()
    pcm16k, pcm24k = (np.frombuffer(array, np.float32) for array in arrays[:2])
    edges_ms = np.frombuffer(arrays[2], np.int32)
    if len(edges_ms) and not (edges_ms[0] >= start_ms and edges_ms[-1] <= end_ms and (np.diff(edges_ms) >= 0).all()):
        raise _not_audio()
    lengths = (end_ms - start_ms) * ASR_SAMPLES_PER_MS, (end_ms - start_ms) * CODEC_SAMPLES_PER_MS
    inside = abs(start_ms - unit.start_ms) <= unit.margin_ms and abs(end_ms - unit.end_ms) <= unit.margin_ms
    if not inside or (len(pcm16k), len(pcm24k)) != lengths or not (np.isfinite(pcm16k).all() and np.isfinite(pcm24k).all()):
        raise _not_audio()
    repeats_ms = tuple(zip(edges_ms[::2].tolist(), edges_ms[1::2].tolist(), strict=True))
    return Audio(start_ms=start_ms, end_ms=end_ms, pcm16k=pcm16k, pcm24k=pcm24k, repeats_ms=repeats_ms), peak


def audio_info(source: SourceInfo) -> AudioInfo:
    """The part of a probed recording's information that decoding needs."""
    return AudioInfo(**{field.name: getattr(source, field.name) for field in fields(AudioInfo)})


def _call(
    function: str, path: Path, config: DecodeConfig, fill: Fill | None, arguments: dict[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    with object_errors_are_stage_errors():
        return _sandbox(config.memory_mb).call(function, path, arguments, config.timeout_s, fill)


def _info(reply: dict[str, Any]) -> AudioInfo:
    """Checks and parses the reply of an untrusted process."""
    numbers, words = ("sample_rate", "channels", "frames"), ("format", "decoder", "channel_policy")
    if set(reply) != {*numbers, *words, "channel"}:
        raise _not_audio()
    if not all(type(reply[name]) is int and 0 < reply[name] < 1 << 62 for name in numbers):
        raise _not_audio()
    if not all(isinstance(reply[name], str) and len(reply[name]) < 64 for name in words):
        raise _not_audio()
    channel = reply["channel"]
    if reply["channel_policy"] not in POLICIES or not (channel is None or channel in range(reply["channels"])):
        raise _not_audio()
    return AudioInfo(**reply)


def _not_audio() -> StageError:
    return StageError("decoder_reply", "the decoder's reply does not describe audio", "remove the recording from the input")


@contextmanager
def object_errors_are_stage_errors() -> Iterator[None]:
    """Turns an object that is replaced during a build, or may not be read, into StageError: it costs its recording alone.

    What every recording would meet, such as a full disk, becomes StorageError.
    """
    try:
        with environment_errors():
            yield
    except ObjectReplacedError as error:
        raise StageError("replaced", str(error), BUILD_AGAIN) from error
    except ObjectForbiddenError as error:
        raise StageError("forbidden", error.message, str(error.remedy)) from error


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
        with object_errors_are_stage_errors(), open_sparse(unit.recording.uri, source.etag) as (path, fill):
            audio, peak = decode_sandboxed(path, self.config, fill, unit)
            # The decoded bytes must be the hashed ones. A plan does not hash.
            if fill is None and source.sha256 and sha256_of(path) != source.sha256:
                raise StageError("replaced", f"{path.name} changed after it was probed", BUILD_AGAIN)
        return replace(state, audio=audio, peak=peak)
