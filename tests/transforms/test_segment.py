"""Segment: laws that hold for any sound and any turns, and what becomes of real speech."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.schemas.config import DiarizeConfig, SegmentConfig
from voxbeam.schemas.segment import Segment, Turn
from voxbeam.transforms.audio.pauses import frame_levels_db, pause_mask, true_runs
from voxbeam.transforms.diarize import diarize, load_diarizer
from voxbeam.transforms.segment import CHANGE_PAD_MS, segment_speech

from tests import audio_fixtures

DEFAULTS = SegmentConfig()


def sound(seconds: float, pauses: list[tuple[float, float]]) -> np.ndarray:
    at = np.arange(round(16_000 * seconds)) / 16_000
    loud = np.full(len(at), 0.1)
    for start, end in pauses:
        loud[(at >= start) & (at < end)] = 1e-4
    return (np.random.default_rng(0).normal(0, 1, len(at)) * loud).astype(np.float32)


def turn(start: float, end: float, speaker: str = "v1") -> Turn:
    return Turn(start_ms=round(start * 1000), end_ms=round(end * 1000), speaker=speaker)


def laws(segments: tuple[Segment, ...], start_ms: int, end_ms: int, config: SegmentConfig) -> None:
    """What holds for every result: disjoint, in order, inside the unit, within the limits, reasons given."""
    at = start_ms
    for segment in segments:
        assert at <= segment.start_ms < segment.end_ms <= end_ms
        at = segment.end_ms
        assert 0.0 <= segment.speech_ratio <= 1.0
        if segment.accepted:
            assert config.min_s * 1000 <= segment.duration_ms <= config.max_s * 1000
            assert segment.speaker is not None and segment.rejected_by is None
        else:
            assert segment.rejected_by == "segment"
            assert set(segment.reasons) <= {"overlap", "speaker_change", "too_short", "no_pause"}


@st.composite
def units(draw):
    """Random bursts of sound and random turns, which need not agree with each other."""
    length = draw(st.integers(1, 60_000))
    start = draw(st.integers(0, 5_000))
    rng = np.random.default_rng(draw(st.integers(0, 9_999)))
    loud = np.full(length, draw(st.sampled_from([0.0, 1e-4, 1e-2])))
    for _ in range(draw(st.integers(0, 25))):
        begin = int(rng.integers(0, length))
        loud[begin : begin + int(rng.integers(20, 6_000))] = rng.choice([0.02, 0.1, 0.5])
    pcm = (rng.normal(0, 1, length * 16) * np.repeat(loud, 16)).clip(-1, 1).astype(np.float32)
    edges = sorted({int(edge) for edge in rng.integers(0, length + 1, draw(st.integers(0, 24)))})
    turns = [
        Turn(start_ms=start + begin, end_ms=start + end, speaker=f"v{rng.integers(1, 4)}")
        for begin, end in itertools.pairwise(edges)
        if rng.random() < 0.7
    ]
    edges = sorted({int(edge) for edge in rng.integers(0, length + 1, 2 * draw(st.integers(0, 6)))})
    mixed = [(start + begin, start + end) for begin, end in zip(edges[::2], edges[1::2], strict=False)]
    return pcm, start, start + length, turns, mixed


def quiet_free(quiet: np.ndarray, turn: Turn, segment: Segment, start: int) -> int:
    """Milliseconds of sound of a turn inside a segment."""
    inside = slice(max(turn.start_ms, segment.start_ms) - start, max(0, min(turn.end_ms, segment.end_ms) - start))
    return int((~quiet[inside]).sum())


@settings(max_examples=120, deadline=None)
@given(units(), st.sampled_from([DEFAULTS, SegmentConfig(min_s=0.5, max_s=6, target_min_s=2, target_max_s=4, pad_s=0.1)]))
def test_laws_for_any_sound_and_any_turns(unit, config):
    pcm, start, end, turns, mixed = unit
    segments = segment_speech(pcm, start, end, turns, mixed, config)
    laws(segments, start, end, config)
    assert segments == segment_speech(pcm.copy(), start, end, list(reversed(turns)), mixed, config)
    length = end - start
    inside, heard = np.zeros(length, bool), np.zeros(length, bool)
    for s in segments:
        inside[s.start_ms - start : s.end_ms - start] = True
    for t in turns:
        heard[t.start_ms - start : t.end_ms - start] = True
    quiet = np.repeat(pause_mask(frame_levels_db(pcm, 16_000)), 10)[:length]
    assert not (heard & ~inside & ~quiet).any(), "diarized sound must be in a segment or in a pause"
    clear = np.ones(length, bool)
    for begin, last in mixed:
        clear[max(0, begin - start) : last - start] = False
    for s in segments:
        if s.accepted:
            assert (clear | quiet)[s.start_ms - start : s.end_ms - start].all(), "nothing mixed is accepted"
            speakers = {t.speaker for t in turns if quiet_free(quiet, t, s, start) >= 300}
            assert speakers <= {s.speaker}, "one speaker in a segment"
    # no edge of an accepted segment in sound, unless the diarizer hears nobody for a long way around it
    for s in (s for s in segments if s.accepted):
        for edge in (s.start_ms - start, s.end_ms - start):
            if 0 < edge < length:
                assert quiet[edge - 1 : edge + 1].any() or not heard[max(0, edge - 200) : edge + 200].any()


def test_islands_of_one_voice_join_up_to_the_target():
    pauses = [(t, t + 0.3) for t in np.arange(2.0, 60.0, 2.0)]
    segments = segment_speech(sound(60, pauses), 0, 60_000, [turn(0, 60)], (), DEFAULTS)
    laws(segments, 0, 60_000, DEFAULTS)
    assert all(s.accepted and 10_000 <= s.duration_ms <= 20_500 for s in segments)
    edges = [s.start_ms for s in segments[1:]]
    assert all(abs((edge / 1000 - 0.15) % 2.0) < 0.03 for edge in edges), "the middle of a pause shorter than two pads"


def test_long_pauses_are_preferred():
    pauses = [(t, t + 0.16) for t in np.arange(1.0, 30.0, 1.0) if t != 14.0] + [(14.0, 14.9)]
    segments = segment_speech(sound(30, pauses), 0, 30_000, [turn(0, 30)], (), DEFAULTS)
    assert [s.accepted for s in segments] == [True, True]
    assert abs(segments[0].end_ms - 14_250) <= 30 and abs(segments[1].start_ms - 14_650) <= 30


def test_reasons():
    def reasons(seconds, pauses, turns, mixed=()):
        found = segment_speech(sound(seconds, pauses), 0, seconds * 1000, turns, mixed, DEFAULTS)
        laws(found, 0, seconds * 1000, DEFAULTS)
        return [(s.speaker, s.reasons) for s in found]

    assert reasons(5, [], [turn(0, 5)], [(200, 4_800)]) == [(None, ("overlap",))]
    assert reasons(6, [(2.9, 3.0)], [turn(0, 3), turn(3, 6, "v2")]) == [("v1", ()), ("v2", ())], "cut at the dip"
    assert reasons(6, [(2.8, 3.2)], [turn(0, 3), turn(3, 6, "v2")]) == [("v1", ()), ("v2", ())]
    assert reasons(5, [(0, 2.3), (2.7, 5)], [turn(2.3, 2.7)]) == [("v1", ("too_short",))]
    assert reasons(31, [(0, 0.1)], [turn(0, 31)]) == [("v1", ("no_pause",))]
    assert reasons(5, [(2, 3)], []) == []
    assert reasons(9, [(3, 6)], [turn(0, 3)]) == [("v1", ())], "sound in which nobody is heard is no segment"


def test_a_second_voice_is_cut_around_from_dip_to_dip():
    pauses = [(0, 0.6), (3.0, 3.06), (5.5, 5.56)]  # with less silence, the quietest moments of the noise are dips
    found = segment_speech(sound(9, pauses), 0, 9_000, [turn(0, 9)], [(4_000, 4_400)], DEFAULTS)
    laws(found, 0, 9_000, DEFAULTS)
    assert [(s.speaker, s.reasons) for s in found] == [("v1", ()), (None, ("overlap",)), ("v1", ())]
    assert 3_000 <= found[0].end_ms <= 3_070 and 5_490 <= found[2].start_ms <= 5_560
    assert found[0].end_ms == found[1].start_ms and found[1].end_ms == found[2].start_ms


def test_near_a_second_voice_segments_are_short():
    pauses = [(t, t + 0.3) for t in np.arange(2.0, 90.0, 2.0)]
    found = segment_speech(sound(90, pauses), 0, 90_000, [turn(0, 90)], [(70_500, 70_900)], DEFAULTS)
    laws(found, 0, 90_000, DEFAULTS)
    kept = [s for s in found if s.accepted]
    near = [s for s in kept if s.start_ms < 80_900 and s.end_ms > 60_500]
    assert len(near) >= 4 and all(s.duration_ms <= 4_500 for s in near), "what was not heard there spoils little"
    assert all(s.duration_ms >= 10_000 for s in kept if s.end_ms < 60_500)


def test_little_silence_is_kept_before_another_speaker():
    found = segment_speech(sound(8, [(3.0, 4.5)]), 0, 8_000, [turn(0, 3), turn(4.5, 8, "v2")], (), DEFAULTS)
    assert [s.speaker for s in found] == ["v1", "v2"]
    assert found[0].end_ms <= 3_000 + CHANGE_PAD_MS + 10 and found[1].start_ms >= 4_500 - CHANGE_PAD_MS - 10


def test_a_change_without_a_clear_dip_costs_the_words_around_it():
    pauses = [(2.0, 2.06), (4.0, 4.06)]
    found = segment_speech(sound(6, pauses), 0, 6_000, [turn(0, 3), turn(3, 6, "v2")], (), DEFAULTS)
    assert [(s.speaker, s.reasons) for s in found] == [("v1", ()), (None, ("speaker_change",)), ("v2", ())]


def test_a_longer_silence_ends_a_segment():
    segments = segment_speech(sound(10, [(4, 6)]), 0, 10_000, [turn(0, 10)], (), DEFAULTS)
    assert len(segments) == 2 and segments[0].end_ms == pytest.approx(4_250, abs=30)
    assert len(segment_speech(sound(10, [(4, 5.2)]), 0, 10_000, [turn(0, 10)], (), DEFAULTS)) == 1


def test_speech_ratio_and_offset():
    segments = segment_speech(sound(8, [(0, 1), (5, 8)]), 70_000, 78_000, [turn(71, 75)], (), DEFAULTS)
    assert len(segments) == 1 and segments[0].speech_ratio == pytest.approx(4 / 4.5, abs=0.02)
    assert segments[0].start_ms == pytest.approx(70_750, abs=30)


@pytest.fixture(scope="module")
def chapter():
    parts = audio_fixtures.reader("2414", 6)
    pcm = np.concatenate(parts)
    found = diarize(load_diarizer(DiarizeConfig()), pcm, 0, DiarizeConfig())
    return parts, pcm, found.turns, segment_speech(pcm, 0, len(pcm) // 16, found.turns, found.mixed, DEFAULTS)


@pytest.mark.slow
def test_a_chapter_is_covered_and_accepted(chapter):
    _, pcm, _, segments = chapter
    laws(segments, 0, len(pcm) // 16, DEFAULTS)
    covered = np.zeros(len(pcm) // 16, bool)
    for s in segments:
        covered[s.start_ms : s.end_ms] = True
    loud = np.repeat(frame_levels_db(pcm, 16_000) > np.percentile(frame_levels_db(pcm, 16_000), 50), 10)[: len(covered)]
    assert covered[loud].mean() >= 0.97
    assert sum(s.duration_ms for s in segments if s.accepted) > 0.9 * sum(s.duration_ms for s in segments)


@pytest.mark.slow
def test_no_edge_falls_inside_speech_by_an_independent_detector(chapter):
    silero_vad = pytest.importorskip("silero_vad")
    import torch

    _, pcm, _, segments = chapter
    model = silero_vad.load_silero_vad()
    speech = np.zeros(len(pcm) // 16, bool)
    for found in silero_vad.get_speech_timestamps(torch.from_numpy(pcm), model, min_silence_duration_ms=150, speech_pad_ms=0):
        speech[found["start"] // 16 : found["end"] // 16] = True
    edges = [e for s in segments for e in (s.start_ms, s.end_ms) if 0 < e < len(speech)]
    assert edges and not [e for e in edges if speech[max(0, e - 50) : e + 50].all()]


def test_every_edge_is_in_a_pause_of_the_least_length(chapter):
    _, pcm, _, segments = chapter
    pauses = [
        r * 10 for r in true_runs(pause_mask(frame_levels_db(pcm, 16_000))) if (r[1] - r[0]) * 10 >= DEFAULTS.min_pause_s * 1000
    ]
    for edge in (e for s in segments for e in (s.start_ms, s.end_ms) if 0 < e < len(pcm) // 16):
        assert any(a <= edge <= b for a, b in pauses)


@pytest.mark.slow
def test_meetings_hold_the_laws_too():
    diarizer = load_diarizer(DiarizeConfig())
    for path in audio_fixtures.meetings()[:3]:
        pcm = audio_fixtures.read(path)
        found = diarize(diarizer, pcm, 0, DiarizeConfig())
        segments = segment_speech(pcm, 0, len(pcm) // 16, found.turns, found.mixed, DEFAULTS)
        laws(segments, 0, len(pcm) // 16, DEFAULTS)
        assert not [s for s in segments if "no_pause" in s.reasons]
