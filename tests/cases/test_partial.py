"""One bad window costs itself: the accounting law holds with failed windows, moved edges and several tracks."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.link import FinishedRecording, summarize_recording
from voxbeam.pipeline.steps.probe import probe
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import Failure, SchemaError
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.unit import SegmentTotals, UnitResult
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.decode import DecodeAudio

from tests.pipeline.factories import result, source

FAILURE = Failure(stage="decode", reason="corrupt", error="StageError: cannot be decoded near 7 s", remedy="re-encode it")
WINDOW_MS, MARGIN_MS = 60_000, 15_000


@st.composite
def recordings(draw: st.DrawFn) -> list[UnitResult]:
    """Results of the windows of one or two tracks, each failed or with speech, edges moved where both neighbors are fine."""
    count, tracks = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2]))
    info = source(count * WINDOW_MS)
    if tracks == 2:
        info = replace(info, channels=2, channel_policy="separate")
    results = []
    for number, track in enumerate(info.tracks):
        failed = [draw(st.booleans()) for _ in range(count)]
        edges = [0, *(i * WINDOW_MS + draw(st.integers(-MARGIN_MS, MARGIN_MS)) for i in range(1, count)), count * WINDOW_MS]
        for i in range(count):
            if failed[i]:
                one = result(0, i * WINDOW_MS, (i + 1) * WINDOW_MS, count * WINDOW_MS, failure=FAILURE)
            else:
                accepted = draw(st.integers(1, 15_000))
                totals, rejected = (
                    SegmentTotals(segments=1, ms=accepted),
                    SegmentTotals(segments=1, ms=draw(st.integers(0, 14_000))),
                )
                one = result(0, edges[i], edges[i + 1], count * WINDOW_MS, accepted={"v1": totals}, rejected=rejected)
            results.append(replace(one, unit=replace(one.unit, source=info, index=number * count + i, track=track)))
    return results


@given(recordings())
def test_kept_rejected_silent_and_failed_time_is_the_duration(results: list[UnitResult]) -> None:
    finished = summarize_recording(results, 0.3)
    failed = [r for r in results if r.failure]
    if len(failed) == len(results):
        assert not isinstance(finished, FinishedRecording) and finished.check().status == "quarantined"
        return
    assert isinstance(finished, FinishedRecording)
    row = finished.row.check()
    assert row.accepted_ms + row.rejected_ms + row.non_speech_ms + row.failed_ms == row.total_ms
    assert row.total_ms == results[0].unit.source.duration_ms * len(results[0].unit.source.tracks)
    assert row.status == ("partial" if failed else "done") and len(row.failed_windows or []) == len(failed)
    assert row.units == [r.unit.name for r in results if not r.failure] == list(finished.speakers)
    assert all(window["remedy"] and window["reason"] == "corrupt" for window in row.failed_windows or [])


def test_a_partial_row_needs_its_failed_time() -> None:
    good = result(0, 0, 60_000, 120_000, accepted={"v1": SegmentTotals(segments=1, ms=5000)})
    bad = result(1, 60_000, 120_000, 120_000, failure=FAILURE)
    finished = summarize_recording([good, bad], 0.3)
    assert isinstance(finished, FinishedRecording) and finished.row.failed_ms == 60_000
    for changes in ({"failed_ms": 59_000}, {"status": "done"}, {"failed_windows": None}, {"non_speech_ms": 0}):
        with pytest.raises(SchemaError):
            replace(finished.row, **changes).check()


def test_one_bad_frame_fails_one_window() -> None:
    """Case 46: one bit of a FLAC of three minutes is wrong at 90 %."""
    path = Path(__file__).parents[3] / "shared" / "cases" / "46-one-bad-frame-in-long-flac" / "46_long.flac"
    if not path.exists():
        pytest.skip("needs ../shared/cases")
    config = DecodeConfig(window_s=60)
    recording = Recording(recording="r", uri=str(path))
    probed = probe(recording, config)
    assert probed.source
    stage = DecodeAudio(config)
    states = [stage.run_timed(UnitState(unit=unit)) for unit in plan_windows(recording, probed.source, config, "f")]
    assert [state.failure is not None for state in states] == [False, False, False, True]
    assert states[-1].failure and "near 155 s" in states[-1].failure.error  # the library reads ahead: the bad frame is at 162 s
