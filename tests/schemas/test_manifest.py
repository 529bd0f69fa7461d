"""Manifest rows: keys in order of time, and rows that refuse to lie."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow, ShardRow
from voxbeam.schemas.recording import KEY_ALPHABET
from voxbeam.schemas.sample_keys import sample_key

DAY_MS = 86_400_000  # a recording is no longer (decode.max_duration_s)
TIMES = st.tuples(st.integers(0, DAY_MS - 1), st.integers(1, DAY_MS)).map(lambda t: (t[0], min(DAY_MS, t[0] + t[1])))


@given(recording=st.text(KEY_ALPHABET, min_size=1), first=TIMES, second=TIMES)
def test_order_of_keys_is_order_of_time(recording: str, first: tuple[int, int], second: tuple[int, int]) -> None:
    a, b = sample_key(recording, *first), sample_key(recording, *second)
    assert (a < b) == (first < second) and (a == b) == (first == second)
    assert set(a) <= set(KEY_ALPHABET)


def sample(**changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "key": sample_key("r", 1000, 3000), "recording": "r", "unit": "u", "speaker": "s", "identity": "i", "start_ms": 1000,
        "end_ms": 3000,
        "duration_ms": 2000, "text": "hello", "speech_ratio": 1.0, "split": "train", "phones": "h", "phone_ids": [1],
        "frames": 150, "shard": "x.tar", "codes_offset": 512, "codes_bytes": 2, "codes_crc32": 7, "json_offset": 1536,
        "json_bytes": 2,
    }  # fmt: skip
    return SampleRow(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "r_1_2"},
        {"end_ms": 3001},
        {"duration_ms": 1999},
        {"split": "dev"},
        {"frames": 152},
        {"speaker": None},
        {"identity": ""},
        {"text": ""},
        {"phone_ids": []},
    ],
)
def test_impossible_sample(changes: dict[str, Any]) -> None:
    assert sample().check()
    with pytest.raises(SchemaError):
        sample(**changes).check()


def test_rejection_needs_a_reason() -> None:
    values = {
        "key": sample_key("r", 0, 5), "recording": "r", "unit": "u", "start_ms": 0, "end_ms": 5, "duration_ms": 5,
        "speech_ratio": 0.0, "rejected_by": "filter",
    }  # fmt: skip
    assert RejectedRow(**values, reasons=["short"]).check()
    with pytest.raises(SchemaError, match="reason"):
        RejectedRow(**values, reasons=[]).check()


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 10**8), st.integers(-100, 100))
def test_accounting_law_of_a_recording(accepted: int, rejected: int, silent: int, missing: int) -> None:
    row = RecordingRow(
        recording="r", uri="x", status="done", units=["u"], duration_ms=accepted + rejected + silent + missing,
        accepted_ms=accepted, rejected_ms=rejected, non_speech_ms=silent,
    )  # fmt: skip
    if abs(missing) <= 13:  # one frame
        assert row.check() is row
    else:
        with pytest.raises(SchemaError, match="accepted"):
            row.check()


def test_quarantine_needs_its_story() -> None:
    story = {"stage": "probe", "reason": "empty_file", "remedy": "copy it"}
    assert RecordingRow(recording="r", uri="x", status="quarantined", units=[], **story).check()
    for missing in story:
        with pytest.raises(SchemaError):
            RecordingRow(recording="r", uri="x", status="quarantined", units=[], **{**story, missing: None}).check()
    with pytest.raises(SchemaError):
        RecordingRow(recording="r", uri="x", status="lost", units=[], **story).check()


def test_empty_shard_is_refused() -> None:
    values = {"shard": "s", "sha256": "0", "bytes": 1, "frames": 0, "duration_ms": 0, "first_key": "", "last_key": ""}
    with pytest.raises(SchemaError):
        ShardRow(**values, split="train", samples=0).check()
    with pytest.raises(SchemaError):
        ShardRow(**values, split="dev", samples=1).check()
