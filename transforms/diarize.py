"""Diarize: who speaks when in a unit, with an embedding of each speaker (pyannote.audio)."""

import logging
import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxbeam.models.oom import empty_cuda_cache, is_out_of_memory
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE, ASR_SAMPLES_PER_MS
from voxbeam.schemas.segment import LocalSpeaker, Turn
from voxbeam.storage.store_errors import summarize_error
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process

log = logging.getLogger(__name__)
MAX_EMBEDDED_MS = 30_000
"""an embedding is taken from at most this much speech of a speaker, in the longest stretches without overlap"""
MIN_EMBEDDED_MS = 100
"""less speech than this gives no embedding"""
MIN_SPEAKER_MS = 200
"""a speaker with less speech than this in the unit is a click or the onset of noise, and is dropped"""
MIN_INPUT_MS = 10_000
"""shorter audio is repeated to this length, the longest window of pyannote's segmentation models"""
SILENCE_PEAK = 1e-4
"""audio that stays below −80 dBFS is silence; the model normalizes its input and would find speakers in it"""


def diarize(diarizer: Any, pcm16k: NDArray[np.float32], start_ms: int) -> tuple[tuple[Turn, ...], tuple[LocalSpeaker, ...]]:
    """Turns and speakers of a stretch of audio.

    Args:
        diarizer: from `load_diarizer`.
        pcm16k: audio [n] in [−1, 1] at 16 kHz.
        start_ms: time of its first sample in the recording.

    Returns:
        Turns in ms from the start of the recording, in order of time; turns of different speakers overlap where both talk.
        Speakers v1, v2, … in order of amount of speech. An embedding is zero if its speaker talks alone for less than 0.1 s.
        Both are empty for silence.
    """
    length = len(pcm16k) // ASR_SAMPLES_PER_MS
    if not length or float(np.abs(pcm16k).max()) < SILENCE_PEAK:
        return (), ()
    # Models pad short audio with zeros, and find speech where noise stops abruptly; repeated audio does not stop.
    repeated = np.resize(pcm16k, max(len(pcm16k), MIN_INPUT_MS * ASR_SAMPLES_PER_MS)).astype(np.float32)
    waveform = torch.from_numpy(repeated)[None]
    with warnings.catch_warnings():
        # pyannote warns that it turns TF32 off, and when it takes statistics of single frames; both are intended.
        warnings.simplefilter("ignore")
        output = _run(diarizer, {"waveform": waveform, "sample_rate": ASR_RATE, "uri": "unit"})
        annotation = getattr(output, "speaker_diarization", output)
        spoken: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for segment, _, label in annotation.itertracks(yield_label=True):
            start, end = max(0, round(segment.start * 1000)), min(length, round(segment.end * 1000))
            if end > start:
                spoken[str(label)].append((start, end))
        spoken = {label: _merge_turns(turns) for label, turns in spoken.items()}
        spoken = {label: turns for label, turns in spoken.items() if sum(e - s for s, e in turns) >= MIN_SPEAKER_MS}
        ranked = sorted(spoken, key=lambda label: (-sum(e - s for s, e in spoken[label]), spoken[label][0], label))
        speakers = tuple(
            LocalSpeaker(
                label=f"v{number}",
                embedding=_embed_speaker(diarizer, waveform, stretches),
                speech_ms=sum(e - s for s, e in stretches),
            )
            for number, stretches in enumerate(_non_overlapping([spoken[label] for label in ranked], length), 1)
        )
    turns = [
        Turn(start_ms=start_ms + start, end_ms=start_ms + end, speaker=f"v{number}")
        for number, label in enumerate(ranked, 1)
        for start, end in spoken[label]
    ]
    return tuple(sorted(turns, key=lambda t: (t.start_ms, t.end_ms, t.speaker))), speakers


@once_per_process
def load_diarizer(config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> Any:
    """The diarization pipeline of the configuration. Raises ModelError if it cannot be loaded."""
    # pyannote logs every load.
    logging.getLogger("pyannote").setLevel(logging.ERROR)
    if config.pipeline == "embedded":
        # Imported here because it imports Lightning: seconds that a build without model work need not spend.
        from voxbeam.models.pyannote_models import EmbeddedDiarization

        diarizer: Any = EmbeddedDiarization(config.step, config.batch)
        clustering = {"method": "average", "threshold": config.threshold, "min_cluster_size": config.min_cluster_size}
        diarizer.instantiate({"segmentation": {"threshold": 0.5, "min_duration_off": 0.0}, "clustering": clustering})
    else:
        diarizer = _load_custom_pipeline(config.pipeline)
        diarizer.segmentation_batch_size = diarizer.embedding_batch_size = config.batch
    return diarizer.to(torch.device(device))


def _load_custom_pipeline(name: str) -> Any:
    from voxbeam.models.pyannote_models import load_pipeline

    cause: Exception | None = None
    try:
        pipeline = load_pipeline(name)
        if hasattr(pipeline, "_embedding"):
            return pipeline
    except ModelError:
        raise
    except Exception as error:  # pyannote, the hub client and torch raise types of their own
        cause = error
    raise ModelError(
        f"{name} is not a pyannote speaker diarization pipeline" + (f" that can be loaded: {cause}" if cause else ""),
        remedy="set diarize.pipeline to a path, bucket address or hub name (a gated one needs its terms accepted and HF_TOKEN), "
        "or to 'embedded'",
    ) from cause


class Diarize(UnitStage):
    """Fills `turns` and `speakers`."""

    name = "diarize"

    def __init__(self, config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        diarizer, audio = load_diarizer(self.config, self.device), state.require_audio()
        turns, speakers = diarize(diarizer, audio.pcm16k, audio.start_ms)
        return replace(state, turns=turns, speakers=speakers)


def _run(diarizer: Any, file: dict[str, Any]) -> Any:
    """Runs the diarizer on a file; again from the start with half the batch size while memory runs out."""
    sizes = diarizer.segmentation_batch_size, diarizer.embedding_batch_size
    try:
        while True:
            try:
                return diarizer(file)
            except Exception as error:
                if diarizer.segmentation_batch_size == 1 or not is_out_of_memory(error):
                    raise
                half = diarizer.segmentation_batch_size // 2
                log.warning("out of memory; diarizing again with batches of %d: %s", half, summarize_error(error))
            empty_cuda_cache()
            diarizer.segmentation_batch_size = diarizer.embedding_batch_size = half
    finally:  # the next unit starts with the full size again
        diarizer.segmentation_batch_size, diarizer.embedding_batch_size = sizes


def _merge_turns(turns: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Turns of one speaker in order of time, joined where they touch or overlap."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(turns):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _non_overlapping(speakers: Sequence[Sequence[tuple[int, int]]], length: int) -> list[list[tuple[int, int]]]:
    """For each speaker's turns, the parts in which no other speaker talks."""
    steps = np.zeros(length + 1, np.int32)
    for turns in speakers:
        for start, end in turns:
            steps[start] += 1
            steps[end] -= 1
    single = np.cumsum(steps)[:length] == 1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], single, [False]]).astype(np.int8))).reshape(-1, 2)
    return [
        [(max(s, int(a)), min(e, int(b))) for s, e in turns for a, b in edges[_overlapping_slice(edges, s, e)]]
        for turns in speakers
    ]


def _overlapping_slice(edges: NDArray[np.int64], start: int, end: int) -> slice:
    """Which of the sorted intervals [k, 2] overlap with one interval."""
    return slice(int(np.searchsorted(edges[:, 1], start, "right")), int(np.searchsorted(edges[:, 0], end, "left")))


def _embed_speaker(diarizer: Any, waveform: torch.Tensor, stretches: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Embedding of length 1 of the longest stretches, at most 30 s in total; zeros if there are less than 0.1 s."""
    chosen: list[tuple[int, int]] = []
    left = MAX_EMBEDDED_MS
    for start, end in sorted(stretches, key=lambda s: (s[0] - s[1], s[0])):
        chosen.append((start, min(end, start + left)))
        left -= chosen[-1][1] - start
        if left <= 0:
            break
    model = diarizer._embedding
    if MAX_EMBEDDED_MS - left < MIN_EMBEDDED_MS:
        return (0.0,) * int(model.dimension)
    sound = torch.cat([waveform[:, s * ASR_SAMPLES_PER_MS : e * ASR_SAMPLES_PER_MS] for s, e in sorted(chosen)], dim=1)
    row = np.nan_to_num(model(sound[None])[0].astype(np.float64))
    norm = math.sqrt(float(row @ row))
    return tuple((row / norm).tolist()) if norm > 0 else (0.0,) * len(row)
