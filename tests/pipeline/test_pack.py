"""Pack: splits by speaker, and the accounting law of a recording."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.link import FinishedRecording, assign_split, summarize_recording
from voxbeam.pipeline.steps.pack import UnitSelection, assign_part, assign_shard_group
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig, PackConfig
from voxbeam.schemas.errors import Failure
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.unit import SegmentTotals, UnitResult

from tests.pipeline.factories import result, source


def test_splits_have_about_their_share() -> None:
    config = PackConfig(valid_fraction=0.1, test_fraction=0.2)
    found = [assign_split(f"speaker {n}", config) for n in range(20_000)]
    assert found == [assign_split(f"speaker {n}", config) for n in range(20_000)]
    shares = {split: found.count(split) / len(found) for split in ("train", "valid", "test")}
    assert shares == pytest.approx({"train": 0.7, "valid": 0.1, "test": 0.2}, abs=0.015)


def test_no_share_means_no_split() -> None:
    config = PackConfig(valid_fraction=0, test_fraction=0)
    assert {assign_split(str(n), config) for n in range(2000)} == {"train"}


def test_a_larger_test_split_only_takes_speakers_in() -> None:
    small, large = PackConfig(test_fraction=0.02), PackConfig(test_fraction=0.1)
    names = [str(n) for n in range(5000)]
    assert {n for n in names if assign_split(n, small) == "test"} < {n for n in names if assign_split(n, large) == "test"}


def done(results: list[UnitResult]) -> FinishedRecording:
    report = summarize_recording(results, 0.3)
    assert isinstance(report, FinishedRecording)
    return report


def quarantined(results: list[UnitResult]) -> RecordingRow:
    row = summarize_recording(results, 0.3)
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
            accepted={"v1": SegmentTotals(segments=1, ms=accepted, bytes=10)} if accepted else {},
            rejected=SegmentTotals(segments=2, ms=rejected),
        )
        for i, ((accepted, rejected, _), (start, end)) in enumerate(zip(windows, pairwise(edges), strict=True))
    ]  # fmt: skip
    row = done(results).row.check()
    assert row.accepted_ms + row.rejected_ms + row.non_speech_ms == row.duration_ms == edges[-1]
    assert row.rejections == 2 * len(windows) and row.units == [r.unit.name for r in results]
    assert row.samples == sum(1 for accepted, _, _ in windows if accepted)


def test_speakers_are_named_across_windows() -> None:
    tallies = [
        {"v1": SegmentTotals(segments=1, ms=9000)},
        {"v1": SegmentTotals(segments=1, ms=8000), "v2": SegmentTotals(segments=1, ms=1000)},
    ]
    results = [result(i, i * 10_000, (i + 1) * 10_000, 20_000, accepted=t, speaker="anna") for i, t in enumerate(tallies)]
    report = done(results)
    assert report.row.speakers == 2
    assert [report.speakers[r.unit.name] for r in results] == [{"v1": "anna"}, {"v1": "anna", "v2": "r_v2"}]


@pytest.mark.parametrize(
    "edges",
    [[(0, 10_000), (10_001, 20_000)], [(0, 10_000), (9999, 20_000)], [(5, 20_000)], [(0, 19_999)], [(10_000, 20_000)]],
)
def test_windows_that_do_not_meet(edges: list[tuple[int, int]]) -> None:
    one = {"v1": SegmentTotals(segments=1, ms=1)}
    row = quarantined([result(i, a, b, 20_000, accepted=one) for i, (a, b) in enumerate(edges)])
    assert (row.stage, row.reason) == ("pack", "windows")


def test_recording_whose_windows_all_failed_is_quarantined() -> None:
    failure = Failure(stage="transcribe", reason="unexpected", error="e", remedy="r")
    row = quarantined([result(i, 10_000 * i, 10_000 * (i + 1), 20_000, failure=failure) for i in range(2)])
    assert (row.stage, row.reason, row.error, row.remedy) == ("transcribe", "unexpected", "e", "r")
    assert row.sha256 and row.duration_ms == 20_000 and row.accepted_ms == 0


@pytest.mark.parametrize(("peak", "reason"), [(0.0, "silent"), (9e-4, "silent"), (0.1, "no_speech")])
def test_recording_without_speech(peak: float, reason: str) -> None:
    assert quarantined([result(0, 0, 20_000, 20_000, peak=peak)]).reason == reason


@given(st.integers(1, 10 << 30), st.text(min_size=1))
def test_buckets_follow_from_bytes(size: int, recording: str) -> None:
    config = PackConfig(target_shard_mb=256)
    (split, bucket), _ = assign_shard_group(("train", recording, None), {"train": size}, config)
    assert split == "train" and 0 <= bucket < -(-size // (256 << 20))


Share = tuple[str, str, UnitSelection]


def shares(recording: str, speaker: str, *, hours: float, units: int = 1) -> Iterator[Share]:
    """A recording's share in the train split: 75 frames of 16 bytes a second, and 2.5 kB of text every 15 seconds."""
    size = round(hours * 3600 * (75 * 16 + 2500 / 15) / units)
    for number in range(units):
        key = f"{recording}_{number:08d}"
        yield (
            "train",
            recording,
            UnitSelection(
                unit=key,
                order=key,
                speakers={"v1": speaker},
                identities={},
                language=None,
                license=None,
                consent_basis=None,
                bytes=size,
            ),
        )


def bucket_bytes(everything: list[Share]) -> list[int]:
    config = PackConfig()
    total = sum(share.bytes for _, _, share in everything)
    filled = Counter[int]()
    for one in everything:
        (_, bucket), share = assign_shard_group(one, {"train": total}, config)
        filled[bucket] += share.bytes
    assert len(filled) == -(-total // (config.target_shard_mb << 20))
    return list(filled.values())


def uneven(filled: list[int]) -> float:
    return max(filled) / (sum(filled) / len(filled))


def test_one_speaker_with_half_the_data_fills_no_bucket_of_its_own() -> None:
    speakers = ["dominant", *(f"speaker_{n}" for n in range(2500))]
    recordings = [(f"r{n}", speakers[0 if n % 2 else 1 + n // 2]) for n in range(5000)]
    filled = bucket_bytes([share for name, speaker in recordings for share in shares(name, speaker, hours=2, units=6)])
    assert len(filled) == 184 and uneven(filled) < 2


@pytest.mark.slow
def test_hundred_thousand_tiny_recordings_make_few_even_shards() -> None:
    tiny = [share for n in range(100_000) for share in shares(f"clip_{n}", f"s{n % 900}", hours=10 / 3600)]
    filled = bucket_bytes(tiny)
    assert len(filled) == 6 and uneven(filled) < 1.05


def test_ten_hours_beside_ten_seconds() -> None:
    long = [share for n in range(200) for share in shares(f"long_{n}", "a", hours=10, units=30)]
    tiny = [share for n in range(20_000) for share in shares(f"clip_{n}", "b", hours=10 / 3600)]
    filled = bucket_bytes(long + tiny)
    assert len(filled) == 38 and uneven(filled) < 3, "a recording's samples stay together, so long ones fill buckets unevenly"
    assert max(filled) < PackConfig().max_shard_mb << 20


def test_parts_of_reports_stay_small() -> None:
    report = done([result(0, 0, 10_000, 10_000, accepted={"v1": SegmentTotals(segments=1, ms=1)})])
    rows = (replace(report.row, recording=f"r{n}") for n in range(20_000))
    parts = Counter(assign_part(replace(report, row=row), units=20_000)[0] for row in rows)
    assert len(parts) == 10 and max(parts.values()) < 2200


def test_results_cross_a_shuffle_unchanged() -> None:
    """Also without a speaker; embeddings in single precision, which those of models are."""
    accepted = {"v1": SegmentTotals(segments=1, ms=9000), "v2": SegmentTotals(segments=2, ms=1, bytes=3)}
    failure = Failure(stage="transcribe", reason="unexpected", error="e", remedy="r")
    for one in (result(0, 0, 9, 9, accepted=accepted, speaker="anna"), result(1, 0, 9, 9, failure=failure)):
        assert UnitResult.from_bytes(one.to_bytes()) == one


def test_the_text_of_a_long_recording_crosses_once() -> None:
    """The first unit brings it for the table of recordings; the names of the others stay."""
    listed = Recording(recording="r", uri="r.wav", text="word " * 10_000)
    units = plan_windows(listed, source(40 * 60_000), DecodeConfig(), "f")
    sent = [UnitResult(unit=unit, start_ms=unit.start_ms, end_ms=unit.end_ms).to_bytes() for unit in units]
    assert [len(content) > 50_000 for content in sent] == [True, False]
    received = [UnitResult.from_bytes(content) for content in sent]
    assert [result.unit.name for result in received] == [unit.name for unit in units]
    assert received[0].unit.recording == listed
