"""What limits keep: curves and costs against a plain count of the rows."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from voxbeam.corpus import Corpus
from voxbeam.reporting.limits import LimitCurve, cost_of, limit_curves
from voxbeam.reporting.report import what_if
from voxbeam.reporting.rules import find_rule, rules_of
from voxbeam.schemas.errors import ConfigError
from voxbeam.storage.release_tables import ReleaseTables

pytestmark = pytest.mark.slow
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows(corpus: Corpus) -> list[Row]:
    """All segments, without DuckDB."""
    accepted = [{**row, "accepted": True, "reasons": []} for row in corpus.samples().read_all().to_pylist()]
    return accepted + [{**row, "accepted": False, "identity": None} for row in corpus.rejected().read_all().to_pylist()]


@pytest.fixture
def tables(corpus: Corpus) -> Iterator[ReleaseTables]:
    with ReleaseTables(corpus.store, corpus.release) as opened:
        yield opened


def kept_ms(rows: list[Row], reasons: set[str], passes: Callable[[Row], bool]) -> int:
    """Time of segments that no reason but these rejects, and that pass."""
    return sum(row["duration_ms"] for row in rows if set(row["reasons"]) <= reasons and passes(row))


def at(curve: LimitCurve, bar: int) -> int:
    """Kept time of the limit below a bar, as the page adds it up."""
    inside = curve.kept_ms[:bar] if curve.upper else curve.kept_ms[bar:]
    return curve.unscored_kept_ms + sum(inside)


def test_every_limit_of_a_curve_keeps_what_a_count_says(tables: ReleaseTables, rows: list[Row], corpus: Corpus) -> None:
    curves = {curve.setting: curve for curve in limit_curves(tables, rules_of(corpus.release.config))}
    assert len(curves) == 16 and "filter.max_reference_wer" not in curves  # no segment has that score
    for setting, reason, upper in (
        ("filter.min_dnsmos_ovrl", "low_dnsmos", False),
        ("filter.min_snr_db", "low_snr", False),
        ("filter.max_no_speech_prob", "no_speech", True),
    ):
        curve = curves[setting]
        for bar in range(1, len(curve.kept_ms)):
            limit = curve.origin + (curve.first + bar) * curve.step

            def passes(row: Row, score: str = curve.score, limit: float = limit, upper: bool = upper) -> bool:
                return row[score] is None or (row[score] <= limit if upper else row[score] >= limit)

            assert at(curve, bar) == kept_ms(rows, {reason}, passes), (setting, limit)


def test_the_limit_as_it_is_keeps_what_is_accepted(tables: ReleaseTables, rows: list[Row], corpus: Corpus) -> None:
    accepted = kept_ms(rows, set(), lambda row: True)
    everything = sum(row["duration_ms"] for row in rows)
    for curve in limit_curves(tables, rules_of(corpus.release.config)):
        assert at(curve, -curve.first) == accepted, curve.setting
        total = curve.unscored_kept_ms + curve.unscored_other_ms + sum(curve.kept_ms) + sum(curve.other_ms)
        assert total == everything


def test_the_cost_of_a_limit_and_of_two_together(corpus_uri: str, rows: list[Row]) -> None:
    stricter, looser, both = what_if(corpus_uri, {"min_dnsmos_ovrl": 3.0, "filter.min_snr_db": 5.0})
    now = kept_ms(rows, set(), lambda row: True)
    assert stricter.kept_ms == kept_ms(rows, {"low_dnsmos"}, lambda row: row["dnsmos_ovrl"] >= 3) < now
    assert stricter.lost_ms == now - stricter.kept_ms and stricter.gained_ms == 0
    assert looser.kept_ms == kept_ms(rows, {"low_snr"}, lambda row: row["snr_db"] >= 5) > now
    assert looser.gained_ms == looser.kept_ms - now and looser.lost_samples == 0
    together = kept_ms(rows, {"low_dnsmos", "low_snr"}, lambda row: row["dnsmos_ovrl"] >= 3 and row["snr_db"] >= 5)
    assert both.kept_ms == together and both.kept_ms == now - both.lost_ms + both.gained_ms


def test_identities_without_a_sample_are_counted(corpus_uri: str) -> None:
    (nothing,) = what_if(corpus_uri, {"min_dnsmos_ovrl": 5.0})
    assert (nothing.kept_samples, nothing.identities_lost) == (0, 4)


def test_what_another_cause_rejects_stays_rejected(tables: ReleaseTables, rows: list[Row], corpus: Corpus) -> None:
    """A rule's reason where the score is on the right side: another limit of the rule, or a listed language, rejects it."""
    rules = rules_of(corpus.release.config)
    lowered = replace(find_rule(rules, "min_snr_db"), limit=0.0)  # as if low_snr had been given for some other cause
    cost = cost_of(tables, [lowered], {"min_snr_db": -100.0})
    assert cost.kept_ms == kept_ms(rows, set(), lambda row: True) and cost.gained_segments == 0


def test_a_limit_that_there_is_not(corpus_uri: str) -> None:
    with pytest.raises(ConfigError, match=r"no limit 'min_dnsmos'; the limits are min_dnsmos_ovrl, "):
        what_if(corpus_uri, {"min_dnsmos": 3})


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_dnsmos_ovrl": 9999}, "filter.min_dnsmos_ovrl: Input should be less than or equal to 5 (found 9999)"),
        ({"purity.max_voice_distance": -1}, "purity.max_voice_distance: Input should be greater than"),
        ({"max_second_repeats": 0.5}, "filter.max_second_repeats: Input should be a valid integer"),
        ({"min_snr_db": math.nan}, "filter.min_snr_db: Input should be a finite number"),
        (
            {"min_snr_db": 3, "min_chars_per_second": 26},
            "min_chars_per_second (26) is over filter.max_chars",
        ),
    ],
)
def test_a_limit_that_no_policy_can_have(limits: dict[str, float], message: str, corpus_uri: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        what_if(corpus_uri, limits)
