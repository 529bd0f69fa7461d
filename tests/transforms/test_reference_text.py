"""Alignment of the words of segments with the text of the whole recording."""

import itertools
import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.transforms.reference_text import (
    _EDIT,
    _SKIP,
    MAX_WORDS_PER_SECOND,
    HeardSegment,
    _deletion_cost,
    reference_stretches,
    reference_word_error_rates,
)


def split(text: str) -> list[str]:
    return text.split()


TEXT = split(
    "the old lighthouse keeper climbed the stairs every evening to light the lamp she opened the window and listened to the "
    "rain falling on the roof we walked along the river until the sun went down behind the hills nobody in the village "
    "remembered who had built the stone bridge the train to the city leaves early in the morning"
)


def heard(*parts: tuple[str | list[str], float, float]) -> list[HeardSegment]:
    """Segments from (words, start s, end s)."""
    return [
        HeardSegment(words=words.split() if isinstance(words, str) else words, start_ms=round(1000 * a), end_ms=round(1000 * b))
        for words, a, b in parts
    ]


def test_a_whole_recording_in_two_segments() -> None:
    segments = heard((TEXT[:30], 0.2, 12.0), (TEXT[30:], 12.3, 24.0))
    assert reference_stretches(TEXT, segments, 24_100) == [(0, 30), (30, len(TEXT))]
    assert reference_word_error_rates(TEXT, segments, 24_100) == [0.0, 0.0]


def test_words_of_segments_that_were_not_transcribed_are_nobodys_errors() -> None:
    """The middle was rejected as overlap, the start as too short."""
    segments = heard((TEXT[4:20], 2.0, 8.0), (TEXT[33:50], 13.5, 20.0))
    assert reference_stretches(TEXT[:50], segments, 20_100) == [(4, 20), (33, 50)]


def test_words_that_the_recognizer_drops_are_charged() -> None:
    """At the start, in the middle and at the end of a segment; there is no time between the segments to speak them."""
    words = [*TEXT[:10], *TEXT[14:26]]
    segments = heard((words, 0.1, 12.0), (TEXT[30:50], 12.2, 20.0), (TEXT[54:], 20.2, 24.0))
    rates = reference_word_error_rates(TEXT, segments, 24_100)
    assert [round(rate * 30) for rate in rates[:1] if rate] == [8]
    assert rates[1] is not None and rates[2] is not None and rates[1] + rates[2] > 0.1
    alone = reference_word_error_rates(TEXT[:12], heard((TEXT[3:9], 0.1, 5.0)), 5_100)
    assert alone == [0.5]


def test_invented_text_is_charged_with_what_was_said() -> None:
    gibberish = split("minnan island by me todafoga stolt metim")
    segments = heard((TEXT[:14], 0.2, 5.0), (gibberish, 5.2, 11.0), (TEXT[30:], 11.2, 24.0))
    assert reference_stretches(TEXT, segments, 24_100)[1] == (14, 30)
    assert reference_word_error_rates(TEXT, segments, 24_100) == [0.0, 1.0, 0.0]
    silent = heard((TEXT[:14], 0.2, 5.0), ("", 5.2, 11.0), (TEXT[30:], 11.2, 24.0))
    assert reference_word_error_rates(TEXT, silent, 24_100) == [0.0, 1.0, 0.0]


def test_words_that_the_text_lacks() -> None:
    """An introduction that the text does not have: every word of it is an error, and the rest has none."""
    intro = split("this is a recording in the public domain")
    segments = heard((intro, 0.2, 3.0), (TEXT[:20], 3.6, 12.0))
    assert reference_word_error_rates(TEXT[:20], segments, 12_100) == [float(len(intro)), 0.0]
    assert reference_word_error_rates([], segments, 12_100) == [float(len(intro)), 20.0]
    assert reference_word_error_rates([], heard(("", 0, 2)), 2_000) == [None]
    assert reference_word_error_rates(TEXT, [], 2_000) == []


def test_a_text_of_something_else_fails_every_segment() -> None:
    other = split("thirty boxes of green apples stood beside his brothers garden wall") * 6
    segments = heard((TEXT[:30], 0.2, 12.0), (TEXT[30:], 12.3, 24.0))
    assert all(rate is not None and rate > 0.8 for rate in reference_word_error_rates(other, segments, 24_100))


def test_a_text_that_is_far_too_long_is_charged_to_the_edges_only() -> None:
    rng = random.Random(5)
    book = [str(rng.randrange(2000)) for _ in range(5000)]
    segments = heard((book[2000:2020], 0.2, 8.0), (book[2020:2050], 8.2, 20.0), (book[2050:2070], 20.2, 28.0))
    first, middle, last = reference_word_error_rates(book, segments, 28_100)
    assert middle == 0 and first is not None and last is not None and min(first, last) > 0.9


words = st.lists(st.sampled_from("abc"), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.tuples(words, st.integers(0, 1)), min_size=1, max_size=3))
def test_no_other_stretches_cost_less(reference: list[str], parts: list[tuple[list[str], int]]) -> None:
    segments, now = [], 0.0
    for content, gap in parts:
        now += gap * 0.3
        segments.append(HeardSegment(words=content, start_ms=round(now * 1000), end_ms=round(now * 1000) + 2000))
        now += 2.0
    duration_ms = segments[-1].end_ms
    n = len(reference)
    edges = itertools.combinations_with_replacement(range(n + 1), 2 * len(segments))
    ways = [list(zip(way[::2], way[1::2], strict=True)) for way in edges]
    found = reference_stretches(reference, segments, duration_ms)
    assert found in ways
    assert _cost(reference, segments, found) <= min(_cost(reference, segments, way) for way in ways) + 10


def _cost(reference: list[str], segments: list[HeardSegment], stretches: list[tuple[int, int]]) -> float:
    """Of stretches as the module's documentation has it."""
    total, previous_end, previous_ms = 0.0, 0, 0
    for i, (segment, (start, end)) in enumerate(zip(segments, stretches, strict=True)):
        room = (segment.start_ms - previous_ms) * MAX_WORDS_PER_SECOND // 1000
        if start - previous_end > room:
            return float("inf")
        total += (start - previous_end) * _SKIP if i else 0
        total += _edits(reference[start:end], list(segment.words), _deletion_cost(segment))
        previous_end, previous_ms = end, segment.end_ms
    return total if previous_end == len(reference) else float("inf")


def _edits(reference: list[str], found: list[str], deletion: int) -> int:
    row = [j * _EDIT for j in range(len(found) + 1)]
    for word in reference:
        above, row = row, [row[0] + deletion]
        for j, other in enumerate(found, start=1):
            row.append(min(above[j] + deletion, row[-1] + _EDIT, above[j - 1] + (0 if word == other else _EDIT)))
    return row[-1]


@pytest.mark.slow
def test_a_window_finds_its_place_in_ten_hours_of_text() -> None:
    """90,000 words that repeat like those of a book; a fifth of the segments is missing, an eighth of the words is wrong."""
    rng = random.Random(1)
    vocabulary = [str(i) for i in range(5000)]
    book = rng.choices(vocabulary, weights=[1 / (i + 1) for i in range(5000)], k=90_000)
    place, truth, segments = 42_000, [], []
    while place < 45_000:
        size = rng.randint(5, 45)
        if rng.random() < 0.8:
            content = [
                w if rng.random() > 0.08 else rng.choice(vocabulary) for w in book[place : place + size] if rng.random() > 0.04
            ]
            segments.append(HeardSegment(words=content, start_ms=place * 400, end_ms=(place + size) * 400))
            truth.append((place, place + size))
        place += size
    tracemalloc.start()
    started = time.process_time()
    found = reference_stretches(book, segments, 36_000_000)
    assert time.process_time() - started < 30
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert max(abs(a - c) + abs(b - d) for (a, b), (c, d) in zip(found, truth, strict=True)) <= 4
    rates = [rate for rate in reference_word_error_rates(book, segments, 36_000_000) if rate is not None]
    assert 0.08 < sum(rates) / len(rates) < 0.16
