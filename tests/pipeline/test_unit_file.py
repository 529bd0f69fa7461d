"""Unit files: what is read is what was written, or it is said that it is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.pipeline.error_reports import read_reported_error
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.pipeline.progress import get_reporter
from voxbeam.pipeline.steps.policy_object import put_policy
from voxbeam.pipeline.steps.unit_file import (
    load_unit_rows,
    read_earlier,
    read_header_and_table,
    read_result,
    read_seconds,
    read_stages,
    read_unit_rows,
    unit_path,
    write_unit,
)
from voxbeam.pipeline.steps.units import LoadFinishedUnit
from voxbeam.schemas.audio import Audio
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import DamagedUnitError, ModelError
from voxbeam.schemas.fingerprint import stage_fingerprints
from voxbeam.schemas.manifest import UnitRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.segment import LocalSpeaker, Scores, Segment, Transcript
from voxbeam.schemas.unit import Unit
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.chain import build_stages

from tests.pipeline.factories import source

UNIT = Unit(
    recording=Recording(recording="r", uri="r.wav"), source=source(4000), index=0, start_ms=0, end_ms=4000, margin_ms=0,
    fingerprint="f",
)  # fmt: skip
POLICY, STAGES = Policy(), stage_fingerprints(CorpusConfig(), {}, 7)
TEXT = Transcript(
    text="It was so, and so it was.", language="en", language_probability=0.9, avg_logprob=-0.3, no_speech_prob=0.01,
    compression_ratio=1.2, temperature=0.0, used_fallback=False,
)  # fmt: skip
SCORES = Scores(
    speech_ratio=0.9, dnsmos_ovrl=2.2, dnsmos_sig=3.5, dnsmos_bak=4.0, snr_db=30.0, bandwidth_hz=8000.0, clipping=0.0,
    loudness_lufs=-23.0, dropouts=0.0, background_tonality=0.05,
)  # fmt: skip
"""its quality is the limit, which in single precision is above it"""


def finished() -> bytes:
    codes = np.random.default_rng(0).integers(0, 1024, (8, 150), dtype=np.int16)
    state = UnitState(
        unit=UNIT,
        audio=Audio(start_ms=0, end_ms=4000, pcm16k=np.zeros(64_000, np.float32), pcm24k=np.zeros(96_000, np.float32)),
        speakers=(LocalSpeaker(label="v1", embedding=(0.6, 0.8), speech_ms=3000),),
        segments=(
            Segment(
                start_ms=0,
                end_ms=2000,
                speaker="v1",
                transcript=TEXT,
                scores=SCORES,
                phones="h ə",
                phone_ids=(1, 2),
                codes=codes,
            ),
            Segment(start_ms=2000, end_ms=3000, speaker="v1", rejected_by="segment", reasons=("too_short",)),
            Segment(
                start_ms=3000,
                end_ms=4000,
                speaker="v1",
                transcript=TEXT,
                scores=replace(SCORES, snr_db=3.0),
                codes=codes[:, :75],
                rejected_by="phonemize",
                reasons=("unknown_phone",),
            ),
        ),
        seconds={"decode": 1.5},
    )
    return write_unit(state, STAGES, keep_audio=False)


CONTENT = finished()
RESULT = read_result(CONTENT, UNIT, POLICY)


def rows(content: bytes, policy: Policy = POLICY, *, whole: bool = True) -> list[UnitRow]:
    return list(read_unit_rows(content, policy, None, whole=whole))


def test_a_whole_file_is_read() -> None:
    assert (RESULT.accepted["v1"].segments, RESULT.accepted_ms, RESULT.rejected.segments, RESULT.rejected.ms) == (
        1,
        2000,
        2,
        2000,
    )
    assert [row.reasons for row in rows(CONTENT)] == [[], ["too_short"], ["low_snr", "unknown_phone"]]
    assert [row.rejected_by for row in rows(CONTENT)] == [None, "segment", "filter"]
    assert read_seconds(CONTENT) == {"decode": 1.5}


def test_rows_without_codes_are_judged_alike() -> None:
    whole, light = rows(CONTENT), rows(CONTENT, whole=False)
    assert [row.reasons for row in light] == [row.reasons for row in whole]
    assert whole[0].codes and light[0].codes is None


def test_another_policy_reads_the_same_file_differently() -> None:
    strict = Policy.model_validate({"filter": {"min_dnsmos_ovrl": 3.0}})
    assert next(row.reasons for row in rows(CONTENT, strict)) == ["low_dnsmos"]
    assert read_result(CONTENT, UNIT, strict).accepted == {}
    loose = Policy.model_validate({"filter": {"min_snr_db": 1.0}})
    assert [row.reasons for row in rows(CONTENT, loose)] == [[], ["too_short"], ["unknown_phone"]], "what has no phones stays out"


def test_a_corrected_text_gets_phones_and_no_measures_of_the_old_one() -> None:
    key = rows(CONTENT)[2].key
    policy = Policy.model_validate({"filter": {"min_snr_db": 1.0}, "corrections": {"texts": {key: "So it was."}}})
    row = rows(CONTENT, policy)[2]
    assert (row.text, row.reasons, row.avg_logprob, row.words) == ("So it was.", [], None, None)
    assert row.phones and row.phone_ids and row.codes
    assert read_result(CONTENT, UNIT, policy).accepted["v1"].segments == 2


def test_a_corrected_text_that_nobody_can_say_in_the_time_belongs_elsewhere() -> None:
    key = rows(CONTENT)[2].key
    policy = Policy.model_validate({"filter": {"min_snr_db": 1.0}, "corrections": {"texts": {key: "So it was. " * 200}}})
    assert rows(CONTENT, policy)[2].reasons == ["too_fast"]
    unlimited = {
        "filter": {"min_snr_db": 1.0, "max_chars_per_second": None},
        "corrections": {"texts": {key: "So it was. " * 200}},
    }
    assert rows(CONTENT, Policy.model_validate(unlimited))[2].reasons == []


def test_decisions_reject_with_a_reason_of_their_own() -> None:
    key = rows(CONTENT)[0].key
    (row, *_) = rows(CONTENT, Policy.model_validate({"corrections": {"rejected": {key: "two voices"}}}))
    assert (row.rejected_by, row.reasons, row.text) == ("corrections", ["marked_wrong"], TEXT.text)
    (row, *_) = rows(CONTENT, Policy.model_validate({"exclude": {"segments": {key: "a name is said"}}}))
    assert (row.rejected_by, row.reasons, row.text, row.phones) == ("exclude", ["excluded"], None, None)


@settings(max_examples=600, deadline=None)
@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
def test_every_flipped_bit_is_found(bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedUnitError) as caught:
        read_result(bytes(damaged), UNIT, POLICY)
    assert caught.value.remedy


@given(length=st.integers(0, len(CONTENT) - 1))
def test_every_cut_is_found(length: int) -> None:
    for read in (lambda c: read_result(c, UNIT, POLICY), rows, read_seconds):
        with pytest.raises(DamagedUnitError):
            read(CONTENT[:length])


def load(store: Store, run_id: str, **changes: Any) -> UnitState:
    job = Job(
        output=store.root, listing="", config=CorpusConfig(), policy_path=put_policy(store, POLICY), fingerprint="f",
        model_hashes={}, number=1, previous=None, extends_previous=False, recordings=1, allow_empty=False, run_id=run_id,
    )  # fmt: skip
    unit = RESULT.unit
    (state,) = LoadFinishedUnit(replace(job, **changes)).process((unit.name, [unit]))
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


def test_a_worker_with_other_models_stops_the_build_and_one_that_makes_nothing_does_not(tmp_path: Path) -> None:
    store, config = Store(str(tmp_path)), CorpusConfig()
    hashes = model_hashes(config)
    other = {**hashes, "transcribe": "0" * 64}
    with pytest.raises(ModelError, match=r"a worker has other bytes .* for the models transcribe;"):
        load(store, "run2", local=False, model_hashes=other)
    assert str(read_reported_error(store, "run2")).startswith("a worker has other bytes")
    assert load(store, "run3", local=False, model_hashes={**hashes, "libraries": "torch=0"}).result is None
    assert load(store, "run4", local=True, model_hashes=other).result is None
    store.put_if_absent(unit_path(RESULT.unit.name), CONTENT)
    assert load(store, "run5", local=False, model_hashes=other).result == RESULT


def test_packing_names_the_damaged_file(tmp_path: Path) -> None:
    store, name = Store(str(tmp_path)), RESULT.unit.name
    store.put_if_absent(unit_path(name), CONTENT[: len(CONTENT) // 2])
    with pytest.raises(DamagedUnitError, match=unit_path(name)):
        list(load_unit_rows(store, name, POLICY, None, whole=True))


def test_a_unit_that_an_earlier_one_knows_all_of_is_the_same_without_any_stage() -> None:
    state = UnitState(unit=UNIT, earlier=read_earlier(CONTENT, frozenset()))
    for stage in build_stages(CorpusConfig()):
        state = stage.run_timed(state)
    assert state.failure is None and state.seconds == {} and state.audio is None
    again = write_unit(state, read_stages(CONTENT), keep_audio=False)
    (header, table), (known, stored) = read_header_and_table(again), read_header_and_table(CONTENT)
    assert table.equals(stored) and {**header, "seconds": known["seconds"]} == known
