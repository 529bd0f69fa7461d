"""A corpus of three people whose speech is made up, with texts and codes that tell the recordings apart: for takedowns."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.pipeline.build import BuildResult, build
from voxbeam.schemas.config import CorpusConfig
from voxbeam.transforms.base import UnitState

from benchmarks.synthetic import CONFIG, MakeUpSpeech, made_up_build

SPEAKERS = ("anna", "bert", "carl")
RECORDINGS = [f"{speaker}-{number}" for number in range(2) for speaker in SPEAKERS]
ONE_WORKER = ["--direct_num_workers=1"]
_FRAMES, _MS = 150, 2000


class TellingSpeech(MakeUpSpeech):
    """Every fifth segment of a made-up unit, two seconds long, with words and codes of its own."""

    def run(self, work: UnitState) -> UnitState:
        made = super().run(work)
        name = work.unit.recording.recording
        segments = []
        for segment in made.segments[::5]:
            seed = hashlib.sha256(f"{name} {segment.start_ms}".encode()).digest()
            codes = np.random.default_rng(list(seed)).integers(0, 1024, (8, _FRAMES)).astype(np.int16)
            assert segment.transcript is not None
            said = replace(segment.transcript, text=f"the secret words {seed.hex()[:24]} were said")
            end_ms = segment.start_ms + _MS
            segments.append(replace(segment, end_ms=end_ms, transcript=said, codes=None if segment.reasons else codes))
        return replace(made, segments=tuple(segments))


def write_listing(path: Path, recordings: list[str]) -> Path:
    rows = [
        {
            "uri": f"/audio/{name}.flac",
            "recording": name,
            "speaker": name.split("-")[0],
            "title": f"Memoirs of {name.split('-')[0]}",
        }
        for name in recordings
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def build_told(
    folder: Path, recordings: list[str] = RECORDINGS, policy: dict[str, Any] | None = None, **options: Any
) -> BuildResult:
    """Builds the recordings into `folder/corpus`."""
    config = CorpusConfig.model_validate({**CONFIG, "pack": {"valid_fraction": 0.3, "test_fraction": 0.3}, **(policy or {})})
    listing = write_listing(folder / "listing.parquet", recordings)
    with made_up_build(TellingSpeech):
        return build(str(listing), str(folder / "corpus"), config, runner_args=ONE_WORKER, **options)
