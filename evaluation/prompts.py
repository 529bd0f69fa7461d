"""Test cases: which utterances of a split are synthesized, and the prompt of each (VALL-E, section 5.2)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.models.batch import TokenizedUtterance
from voxbeam.schemas.formats import CODEC_RATE, FRAME_RATE
from voxbeam.storage.releases import read_release, sample_columns
from voxbeam.trainer.data.stream import PROMPT_S, Stream

TARGET_S = (4.0, 10.0)
"""shortest and longest utterance to synthesize"""


@dataclass(frozen=True, kw_only=True)
class TestCase:
    """An utterance to synthesize, and another of its speaker as the prompt."""

    __test__ = False  # not a test for pytest to collect

    target: TokenizedUtterance
    text: str
    prompt: TokenizedUtterance


def choose_cases(stream: Stream, count: int, seed: int = 0) -> list[TestCase]:
    """Up to `count` utterances, each with another one of its speaker as prompt. Raises ValueError if there is none."""
    frames = np.asarray(stream.index.arrays["frames"])
    speakers = np.asarray(stream.index.arrays["speaker"])
    suitable = (frames >= PROMPT_S[0] * FRAME_RATE) & (frames <= PROMPT_S[1] * FRAME_RATE)
    targets = np.flatnonzero((frames >= TARGET_S[0] * FRAME_RATE) & (frames <= TARGET_S[1] * FRAME_RATE))
    rng = np.random.default_rng(seed)
    pairs: list[int] = []
    for target in rng.permutation(targets).tolist():
        others = np.flatnonzero(suitable & (speakers == speakers[target]))
        others = others[others != target]
        if len(others):
            pairs += [target, int(rng.choice(others))]
        if len(pairs) == 2 * count:
            break
    if not pairs:
        raise ValueError(
            f"no speaker of this split has two utterances of {PROMPT_S[0]:g} to {PROMPT_S[1]:g} s; choose another split"
        )
    found = stream.read(np.array(pairs, np.int64))
    return [
        TestCase(target=target, text=stream.index.text(sample), prompt=prompt)
        for sample, target, prompt in zip(pairs[::2], found[::2], found[1::2], strict=True)
    ]


def read_recordings(stream: Stream, cases: Sequence[TestCase]) -> list[NDArray[np.float32]] | None:
    """The recording of every target, at 24 kHz; None if the release has no audio (`pack.keep_audio`)."""
    index = stream.index
    if index.release is None:
        return None
    wanted = {case.target.key for case in cases}
    columns = ["key", "shard", "flac_offset", "flac_bytes"]
    rows = sample_columns(index.store, read_release(index.store, index.release), index.split, columns)
    found: dict[str, NDArray[np.float32]] = {}
    for row in rows:
        if row["key"] in wanted and row["flac_offset"] is not None:
            content = index.store.get_range(row["shard"], row["flac_offset"], row["flac_bytes"])
            wave_S, rate = sf.read(io.BytesIO(content), dtype="float32")
            found[row["key"]] = soxr.resample(wave_S, rate, CODEC_RATE)
    return [found[case.target.key] for case in cases] if found.keys() == wanted else None
