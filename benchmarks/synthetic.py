"""A synthetic corpus without audio: its listing, and replacements for the two parts of a build that read audio.

A recording lasts 16.4 minutes on average and has a segment every 18 seconds, every sixth of them rejected: 12 million segments at
LibriLight's size. A segment is two codec frames long and its text four words, so that a sample takes 2.5 kB of its shard, not 25.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from voxbeam.pipeline.steps.probe import Probed, ProbeRecordings
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import LocalSpeaker, Scores, Segment, Transcript
from voxbeam.transforms.base import UnitStage, UnitState

RECORDINGS, MINUTES, MIN_MINUTES = 220_000, 16.4, 4.0
"""LibriLight: 60,000 hours"""
RECORDINGS_PER_SPEAKER = 30
SEGMENT_EVERY_MS, SEGMENT_MS, REJECTED_EVERY = 18_000, 27, 6
CODES = np.arange(16, dtype=np.int16).reshape(8, 2)
CONFIG = {
    "filter": {  # what a segment of 27 ms with random scores does not reach
        "max_chars_per_second": None,
        "min_speech_ratio": None,
        "min_snr_db": None,
        "min_language_probability": None,
        "max_no_speech_prob": None,
    },
    "listing": {"license": "CC0-1.0", "consent_basis": "public-domain"},
    # a tenth of the defaults, as samples are a tenth of their size: as many go to a shard
    "pack": {"target_shard_mb": 25, "max_shard_mb": 102},
}


def write_listing(path: Path, recordings: int) -> None:
    """A listing such as a user would bring. Speakers' recordings lie far apart in it."""
    speakers = max(1, recordings // RECORDINGS_PER_SPEAKER)
    rows = []
    for number in range(recordings):
        speaker, book = f"s{number % speakers}", f"b{number // 20}"
        name = f"{speaker}-{book}-{number}"
        rows.append({"uri": f"/audio/{speaker}/{book}/{number}.flac", "recording": name, "speaker": speaker})
    pq.write_table(pa.Table.from_pylist(rows), path)


class MakeUpLength(ProbeRecordings):
    """Recording → (hash of its bytes, Probed), out of nothing but its name."""

    def process(self, keyed: tuple[str, Iterable[Recording]]) -> Iterator[tuple[str, Probed]]:
        for recording in keyed[1]:
            sha256 = hashlib.sha256(recording.recording.encode()).hexdigest()
            minutes = MIN_MINUTES + random.Random(sha256).expovariate(1 / (MINUTES - MIN_MINUTES))
            source = SourceInfo(
                sha256=sha256,
                bytes=1,
                format="FLAC",
                sample_rate=16_000,
                channels=1,
                duration_ms=round(minutes * 60_000),
                frames=16 * round(minutes * 60_000),
                decoder="libsndfile",
            )
            yield sha256, Probed(recording=recording, source=source)


class MakeUpSpeech(UnitStage):
    """All stages of a unit at once: one speaker, with the voice of the listed name, and segments with scores that differ."""

    name = "tokenize"

    def run(self, work: UnitState) -> UnitState:
        unit = work.unit
        rng = np.random.default_rng(int(unit.name[:8], 16))
        person = hashlib.sha256(str(unit.recording.speaker or unit.recording.recording).encode()).digest()
        embedding = np.random.default_rng(int.from_bytes(person[:8], "big")).normal(size=256) + 0.5 * rng.normal(size=256)
        embedding /= np.linalg.norm(embedding)
        starts = range(unit.start_ms, unit.end_ms - SEGMENT_MS, SEGMENT_EVERY_MS)
        drawn = np.round(rng.random((len(starts), 4)), 3).tolist()
        segments = [
            _segment(start, number % REJECTED_EVERY == REJECTED_EVERY - 1, *drawn[number]) for number, start in enumerate(starts)
        ]
        nothing = np.zeros(0, np.float32)
        return replace(
            work,
            audio=Audio(start_ms=unit.start_ms, end_ms=unit.end_ms, pcm16k=nothing, pcm24k=nothing),
            peak=0.5,
            speakers=(LocalSpeaker(label="v1", embedding=tuple(embedding.tolist()), speech_ms=SEGMENT_MS * len(segments)),),
            segments=tuple(segments),
        )


def _segment(start_ms: int, rejected: bool, a: float, b: float, c: float, d: float) -> Segment:
    segment = Segment(
        start_ms=start_ms,
        end_ms=start_ms + SEGMENT_MS,
        speaker="v1",
        speech_ratio=a,
        transcript=Transcript(
            text="and so it was", language="en", language_probability=a, avg_logprob=-b, no_speech_prob=c,
            compression_ratio=1 + d, temperature=0.0, used_fallback=False,
        ),
        scores=Scores(
            speech_ratio=a, dnsmos_ovrl=3 + a, dnsmos_sig=3 + b, dnsmos_bak=3 + c, snr_db=30 * d,
            bandwidth_hz=7000 + 1000 * a, clipping=0.0, loudness_lufs=-20 - b, dropouts=0.0,
            background_tonality=0.05,
        ),
    )  # fmt: skip
    if rejected:
        return replace(segment, rejected_by="segment", reasons=("no_pause",))
    return replace(segment, phones="æ n d | s oʊ | ɪ t | w ʌ z", phone_ids=tuple(range(2, 14)), codes=CODES)


def made_up_build(speech: type[MakeUpSpeech] = MakeUpSpeech) -> ExitStack:
    """For as long as it is open, a build makes up what it would hear: this process makes the graph, and workers get its parts."""
    replaced = ExitStack()
    replaced.enter_context(patch("voxbeam.pipeline.graph.ProbeRecordings", MakeUpLength))
    replaced.enter_context(patch("voxbeam.pipeline.steps.units.build_stages", lambda config: [speech()]))
    return replaced


def put_back(stream: Any, samples: NDArray[np.int64]) -> None:
    """Writes the codes of samples where their shards have lost them."""
    sink = BytesIO()
    np.save(sink, CODES)
    arrays = stream.index.arrays
    for shard in np.unique(arrays["shard"][samples]):
        with Path(stream.index.store.root, stream.index.shards[shard]).open("r+b") as file:
            for sample in samples[arrays["shard"][samples] == shard]:
                file.seek(int(arrays["offset"][sample]))
                file.write(sink.getvalue())
