"""Diarize: who speaks when in a unit, and what every voice sounds like (pyannote.audio)."""

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

from voxbeam.models.oom import free_memory, out_of_memory
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.segment import Turn, Voice
from voxbeam.storage.store import first_line
from voxbeam.transforms.base import UnitStage, UnitWork, once_per_process

log = logging.getLogger(__name__)
SAMPLE_RATE = 16_000
SAMPLES_PER_MS = 16
EMBEDDED_MS = 30_000
"""a voice is known by this much of what it says alone, from its longest stretches"""
MIN_EMBEDDED_MS = 100
"""less than this of a voice alone tells nothing about it"""
MIN_VOICE_MS = 200
"""a voice heard for less than this in the whole unit is a click or the onset of noise"""
SHORTEST_MS = 10_000
"""shorter sound is repeated to fill this; the longest window of pyannote's segmentation models"""
INAUDIBLE = 1e-4
"""nothing above −80 dB below full scale: the model, which normalises its input, would hear voices in it"""


def diarize(diarizer: Any, pcm16k: NDArray[np.float32], start_ms: int) -> tuple[tuple[Turn, ...], tuple[Voice, ...]]:
    """Turns and voices of a stretch of sound.

    Args:
        diarizer: from `load_diarizer`.
        pcm16k: sound [n] in [−1, 1] at 16 kHz.
        start_ms: where its first sample is in the recording.

    Returns:
        Turns in ms from the start of the recording, by time; turns of different voices overlap where both speak. Voices
        v1, v2, … by amount of speech, each with an embedding of what it says alone, and zeros where that is less than
        0.1 s. Silence gives neither.
    """
    length = len(pcm16k) // SAMPLES_PER_MS
    if not length or float(np.abs(pcm16k).max()) < INAUDIBLE:
        return (), ()
    # a model pads short sound with zeros and hears speech where noise breaks off; repeated sound does not break off
    filled = np.resize(pcm16k, max(len(pcm16k), SHORTEST_MS * SAMPLES_PER_MS)).astype(np.float32)
    waveform = torch.from_numpy(filled)[None]
    with warnings.catch_warnings():
        # pyannote turns TF32 off and warns that it did, and takes statistics of single frames; both are as intended
        warnings.simplefilter("ignore")
        output = _run(diarizer, {"waveform": waveform, "sample_rate": SAMPLE_RATE, "uri": "unit"})
        annotation = getattr(output, "speaker_diarization", output)
        spoken: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for segment, _, label in annotation.itertracks(yield_label=True):
            start, end = max(0, round(segment.start * 1000)), min(length, round(segment.end * 1000))
            if end > start:
                spoken[str(label)].append((start, end))
        spoken = {label: _united(turns) for label, turns in spoken.items()}
        spoken = {label: turns for label, turns in spoken.items() if sum(e - s for s, e in turns) >= MIN_VOICE_MS}
        ranked = sorted(spoken, key=lambda label: (-sum(e - s for s, e in spoken[label]), spoken[label][0], label))
        alone = _alone([spoken[label] for label in ranked], length)
        voices = tuple(
            Voice(
                voice=f"v{number}",
                embedding=_embedding(diarizer, waveform, stretches),
                speech_ms=sum(e - s for s, e in stretches),
            )
            for number, stretches in enumerate(alone, 1)
        )
    turns = [
        Turn(start_ms=start_ms + start, end_ms=start_ms + end, voice=f"v{number}")
        for number, label in enumerate(ranked, 1)
        for start, end in spoken[label]
    ]
    return tuple(sorted(turns, key=lambda t: (t.start_ms, t.end_ms, t.voice))), voices


@once_per_process
def load_diarizer(config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> Any:
    """The diarization pipeline of the configuration. Raises ModelError when there is no such pipeline."""
    # pyannote comments on every load
    logging.getLogger("pyannote").setLevel(logging.ERROR)
    if config.pipeline == "embedded":
        # imported here, because it brings Lightning along: seconds that a build without model work can spare
        from voxbeam.models.pyannote_models import EmbeddedDiarization

        diarizer: Any = EmbeddedDiarization(config.step, config.batch)
        clustering = {"method": "average", "threshold": config.threshold, "min_cluster_size": config.min_cluster_size}
        diarizer.instantiate({"segmentation": {"threshold": 0.5, "min_duration_off": 0.0}, "clustering": clustering})
    else:
        diarizer = _other_pipeline(config.pipeline)
        diarizer.segmentation_batch_size = diarizer.embedding_batch_size = config.batch
    return diarizer.to(torch.device(device))


def _other_pipeline(name: str) -> Any:
    from voxbeam.models.pyannote_models import load_pipeline

    cause: Exception | None = None
    try:
        pipeline = load_pipeline(name)
        if hasattr(pipeline, "_embedding"):
            return pipeline
    except Exception as error:  # pyannote, the hub client and torch each have their own; all mean the same to the user
        cause = error
    raise ModelError(
        f"{name} is not a pyannote speaker diarization pipeline" + (f" that loads: {cause}" if cause else "") + "; "
        "name one by path, bucket address or hub name (a gated one needs its terms accepted and HF_TOKEN), or use 'embedded'"
    ) from cause


class Diarize(UnitStage):
    """Sound to turns and voices."""

    name = "diarize"

    def __init__(self, config: DiarizeConfig, device: Literal["cpu", "cuda"] = "cpu") -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, work: UnitWork) -> UnitWork:
        diarizer = load_diarizer(self.config, self.device)
        turns, voices = diarize(diarizer, work.sound.pcm16k, work.sound.start_ms)
        return replace(work, turns=turns, voices=voices)


def _run(diarizer: Any, file: dict[str, Any]) -> Any:
    """What the diarizer makes of a file; all of it again with half the batches where memory runs out."""
    sizes = diarizer.segmentation_batch_size, diarizer.embedding_batch_size
    try:
        while True:
            try:
                return diarizer(file)
            except Exception as error:
                if diarizer.segmentation_batch_size == 1 or not out_of_memory(error):
                    raise
                half = diarizer.segmentation_batch_size // 2
                log.warning("out of memory; diarizing again with batches of %d: %s", half, first_line(error))
            free_memory()
            diarizer.segmentation_batch_size = diarizer.embedding_batch_size = half
    finally:  # the next unit is none of this one's business
        diarizer.segmentation_batch_size, diarizer.embedding_batch_size = sizes


def _united(turns: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Turns of one voice by time, joined where they touch."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(turns):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return united


def _alone(voices: Sequence[Sequence[tuple[int, int]]], length: int) -> list[list[tuple[int, int]]]:
    """Of every voice's turns, the stretches in which no other voice is heard."""
    steps = np.zeros(length + 1, np.int32)
    for turns in voices:
        for start, end in turns:
            steps[start] += 1
            steps[end] -= 1
    single = np.cumsum(steps)[:length] == 1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], single, [False]]).astype(np.int8))).reshape(-1, 2)
    return [[(max(s, int(a)), min(e, int(b))) for s, e in turns for a, b in edges[_touching(edges, s, e)]] for turns in voices]


def _touching(edges: NDArray[np.int64], start: int, end: int) -> slice:
    return slice(int(np.searchsorted(edges[:, 1], start, "right")), int(np.searchsorted(edges[:, 0], end, "left")))


def _embedding(diarizer: Any, waveform: torch.Tensor, stretches: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Unit-length embedding of the longest stretches, together at most 30 s; zeros when there is too little."""
    chosen: list[tuple[int, int]] = []
    left = EMBEDDED_MS
    for start, end in sorted(stretches, key=lambda s: (s[0] - s[1], s[0])):
        chosen.append((start, min(end, start + left)))
        left -= chosen[-1][1] - start
        if left <= 0:
            break
    model = diarizer._embedding
    if EMBEDDED_MS - left < MIN_EMBEDDED_MS:
        return (0.0,) * int(model.dimension)
    sound = torch.cat([waveform[:, s * SAMPLES_PER_MS : e * SAMPLES_PER_MS] for s, e in sorted(chosen)], dim=1)
    row = np.nan_to_num(model(sound[None])[0].astype(np.float64))
    norm = math.sqrt(float(row @ row))
    return tuple((row / norm).tolist()) if norm > 0 else (0.0,) * len(row)
