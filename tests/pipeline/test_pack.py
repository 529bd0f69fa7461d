"""Pack: splits by speaker, and the accounting law of a recording."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pack import Report, account, bucket_of, split_of
from schemas.config import PackConfig
from schemas.failure import Failure
from schemas.manifest import RecordingRow
from schemas.unit import Tally, UnitResult
from tests.pipeline.made import result


def test_splits_have_about_their_share() -> None:
    config = PackConfig(valid_share=0.1, test_share=0.2)
    found = [split_of(f"speaker {n}", config) for n in range(20_000)]
    assert found == [split_of(f"speaker {n}", config) for n in range(20_000)]
    shares = {split: found.count(split) / len(found) for split in ("train", "valid", "test")}
    assert shares == pytest.approx({"train": 0.7, "valid": 0.1, "test": 0.2}, abs=0.015)


def test_no_share_means_no_split() -> None:
    config = PackConfig(valid_share=0, test_share=0)
    assert {split_of(str(n), config) for n in range(2000)} == {"train"}


def test_a_larger_test_split_only_takes_speakers_in() -> None:
    small, large = PackConfig(test_share=0.02), PackConfig(test_share=0.1)
    names = [str(n) for n in range(5000)]
    assert {n for n in names if split_of(n, small) == "test"} < {n for n in names if split_of(n, large) == "test"}


def done(results: list[UnitResult]) -> Report:
    report = account(results, 0.3)
    assert isinstance(report, Report)
    return report


def quarantined(results: list[UnitResult]) -> RecordingRow:
    row = account(results, 0.3)
    assert isinstance(row, RecordingRow) and row.check().status == "quarantined"
    return row


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 20_000)), min_size=1, max_size=5))
def test_accounting_law(windows: list[tuple[int, int, int]]) -> None:
    edges = [0]
    for parts in windows:
        edges.append(edges[-1] + sum(parts) + 1)
    results = [
        result(
            i, start, end, edges[-1],
            accepted={"v1": Tally(segments=1, ms=accepted, bytes=10)} if accepted else {},
            rejected=Tally(segments=2, ms=rejected),
        )
        for i, ((accepted, rejected, _), (start, end)) in enumerate(zip(windows, pairwise(edges), strict=True))
    ]  # fmt: skip
    row = done(results).row.check()
    assert row.accepted_ms + row.rejected_ms + row.non_speech_ms == row.duration_ms == edges[-1]
    assert row.rejections == 2 * len(windows) and row.units == [r.unit.name for r in results]
    assert row.samples == sum(1 for accepted, _, _ in windows if accepted)


def test_voices_are_named_across_windows() -> None:
    tallies = [{"v1": Tally(segments=1, ms=9000)}, {"v1": Tally(segments=1, ms=8000), "v2": Tally(segments=1, ms=1000)}]
    results = [result(i, i * 10_000, (i + 1) * 10_000, 20_000, accepted=t, speaker="anna") for i, t in enumerate(tallies)]
    report = done(results)
    assert report.row.voices == 2
    assert [report.speakers[r.unit.name] for r in results] == [{"v1": "anna"}, {"v1": "anna", "v2": "r_v2"}]


@pytest.mark.parametrize(
    "edges",
    [[(0, 10_000), (10_001, 20_000)], [(0, 10_000), (9999, 20_000)], [(5, 20_000)], [(0, 19_999)], [(10_000, 20_000)]],
)
def test_windows_that_do_not_meet(edges: list[tuple[int, int]]) -> None:
    one = {"v1": Tally(segments=1, ms=1)}
    row = quarantined([result(i, a, b, 20_000, accepted=one) for i, (a, b) in enumerate(edges)])
    assert (row.stage, row.reason) == ("pack", "windows")


def test_one_failed_window_quarantines_the_recording() -> None:
    failure = Failure(stage="transcribe", reason="unexpected", error="e", remedy="r")
    good = result(0, 0, 10_000, 20_000, accepted={"v1": Tally(segments=1, ms=5)})
    row = quarantined([good, result(1, 10_000, 20_000, 20_000, failure=failure)])
    assert (row.stage, row.reason, row.error, row.remedy) == ("transcribe", "unexpected", "e", "r")
    assert row.sha256 and row.duration_ms == 20_000 and row.accepted_ms == 0


@pytest.mark.parametrize(("peak", "reason"), [(0.0, "silent"), (9e-4, "silent"), (0.1, "no_speech")])
def test_recording_without_speech(peak: float, reason: str) -> None:
    assert quarantined([result(0, 0, 20_000, 20_000, peak=peak)]).reason == reason


@given(st.integers(1, 10 << 30), st.text(min_size=1))
def test_buckets_follow_from_bytes(size: int, recording: str) -> None:
    config = PackConfig(target_shard_mb=256)
    (split, bucket), _ = bucket_of(("train", recording, None), {"train": size}, config)  # type: ignore[arg-type]
    assert split == "train" and 0 <= bucket < -(-size // (256 << 20))
