"""Unit files: what is read is what was written, or it is said that it is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import get_reporter
from voxbeam.pipeline.steps.unit_file import (
    load_unit_rows,
    read_result,
    read_seconds,
    read_unit_rows,
    unit_path,
    write_unit,
)
from voxbeam.pipeline.steps.units import LoadFinishedUnit
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import DamagedUnitError
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.segment import LocalSpeaker, Segment
from voxbeam.schemas.unit import Unit, UnitResult
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState

from tests.pipeline.factories import source


def finished() -> tuple[UnitResult, bytes]:
    unit = Unit(
        recording=Recording(recording="r", uri="r.wav"), source=source(4000), index=0, start_ms=0, end_ms=4000, margin_ms=0,
        fingerprint="f",
    )  # fmt: skip
    codes = np.random.default_rng(0).integers(0, 1024, (8, 150), dtype=np.int16)
    state = UnitState(
        unit=unit,
        audio=Audio(start_ms=0, end_ms=4000, pcm16k=np.zeros(64_000, np.float32), pcm24k=np.zeros(96_000, np.float32)),
        speakers=(LocalSpeaker(label="v1", embedding=(0.6, 0.8), speech_ms=3000),),
        segments=(
            Segment(start_ms=0, end_ms=2000, speaker="v1", phones="h ə", phone_ids=(1, 2), codes=codes),
            Segment(start_ms=2000, end_ms=3000, speaker="v1", rejected_by="filter", reasons=("low_snr",)),
        ),
        seconds={"decode": 1.5},
    )
    return write_unit(state, keep_audio=False)


RESULT, CONTENT = finished()


def test_a_whole_file_is_read() -> None:
    assert read_result(CONTENT, RESULT.unit) == RESULT
    assert [row.start_ms for row in read_unit_rows(CONTENT, accepted=True)] == [0]
    assert [row.reasons for row in read_unit_rows(CONTENT, accepted=False)] == [["low_snr"]]
    assert read_seconds(CONTENT) == {"decode": 1.5}


@settings(max_examples=600, deadline=None)
@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
def test_every_flipped_bit_is_found(bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedUnitError) as caught:
        read_result(bytes(damaged), RESULT.unit)
    assert caught.value.remedy


@given(length=st.integers(0, len(CONTENT) - 1))
def test_every_cut_is_found(length: int) -> None:
    for read in (lambda c: read_result(c, RESULT.unit), lambda c: list(read_unit_rows(c, accepted=True)), read_seconds):
        with pytest.raises(DamagedUnitError):
            read(CONTENT[:length])


def load(store: Store, run_id: str) -> UnitState:
    job = Job(
        output=store.root, listing="", config=CorpusConfig(), fingerprint="f", model_hashes={}, number=1, previous=None,
        extends_previous=False, recordings=1, allow_empty=False, run_id=run_id,
    )  # fmt: skip
    unit = RESULT.unit
    (state,) = LoadFinishedUnit(job).process((unit.name, [unit]))
    return state


def test_a_damaged_unit_is_made_again(tmp_path: Path) -> None:
    store, path = Store(str(tmp_path)), unit_path(RESULT.unit.name)
    store.put_if_absent(path, CONTENT)
    assert load(store, "run1").result == RESULT
    store.replace(path, CONTENT[:-1] + b"x")
    assert load(store, "run1").result is None
    assert not store.exists(path)
    assert get_reporter(store.root, "run1").progress.damaged_units == 1
    assert load(store, "run1").result is None  # as a unit that nobody has made


def test_packing_names_the_damaged_file(tmp_path: Path) -> None:
    store, name = Store(str(tmp_path)), RESULT.unit.name
    store.put_if_absent(unit_path(name), CONTENT[: len(CONTENT) // 2])
    with pytest.raises(DamagedUnitError, match=unit_path(name)):
        list(load_unit_rows(store, name, accepted=True))
