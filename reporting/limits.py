"""Limits: how many hours each limit keeps, computed from the tables.

A limit alone keeps every segment that its own rule lets through. With the others as they are, it keeps those that no other
rule rejects either. Segments that a stage before the score rejected have no score: no limit brings them back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from voxbeam.reporting.rules import Rule, find_rule
from voxbeam.storage.release_tables import ReleaseTables

_STEPS = 50
_SAMPLED_ROWS = 1_000_000
"""from a larger corpus, the range of a chart comes from about this many rows"""
_TAIL = 0.003
"""fraction of the scores at either end that may lie outside of a chart, in its outermost bars"""


@dataclass(frozen=True, kw_only=True)
class LimitCurve:
    """The distribution of a score in bars, and so what every limit between two bars would keep.

    Bar i lies between `origin + (first + i) · step` and the next such limit. The first and the last bar have all that is beyond.
    An upper bound belongs to the bar below it, a lower bound to the bar above it: so a limit keeps whole bars.
    """

    setting: str
    reason: str
    score: str
    unit: str
    meaning: str
    upper: bool
    limit: float | None
    origin: float
    step: float
    first: int
    kept_ms: list[int]
    """by bar: segments that no other rule rejects"""
    other_ms: list[int]
    """by bar: segments that another rule rejects too"""
    segments: list[int]
    unscored_kept_ms: int
    """segments without this score, which the rule lets through: those that no other rule rejects"""
    unscored_other_ms: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a release would hold with another limit."""

    limits: dict[str, float]
    kept_ms: int
    kept_samples: int
    lost_ms: int
    """of samples that would be rejected"""
    lost_samples: int
    gained_ms: int
    """of rejected segments that would be samples"""
    gained_segments: int
    identities_lost: int
    """that would be left without any sample"""


def limit_curves(tables: ReleaseTables, rules: list[Rule]) -> list[LimitCurve]:
    """A curve for every rule whose score the release has."""
    ranges = _ranges(tables, rules)
    return [_curve(tables, rule, *ranges[rule.setting]) for rule in rules if rule.setting in ranges]


def cost_of(tables: ReleaseTables, rules: list[Rule], limits: Mapping[str, float]) -> Cost:
    """What other limits would keep, exactly: each by its key in the configuration, with or without the section."""
    changed = [(find_rule(rules, name), limit) for name, limit in limits.items()]
    reasons = ", ".join(f"'{rule.reason}'" for rule, _ in changed)
    others = f"len(list_filter(reasons, lambda reason: NOT list_contains([{reasons}], reason))) > 0"
    causes = [_remaining_cause(rule, [changed_rule for changed_rule, _ in changed]) for rule, _ in changed]
    rejected = " OR ".join([f"(NOT accepted AND ({others}))", *causes, *(rule.fails(limit) for rule, limit in changed)])
    totals = tables.row(
        f"""
        SELECT coalesce(sum(duration_ms) FILTER (NOT gone), 0) :: BIGINT AS kept_ms, count(*) FILTER (NOT gone) AS kept_samples,
            coalesce(sum(duration_ms) FILTER (gone AND accepted), 0) :: BIGINT AS lost_ms,
            count(*) FILTER (gone AND accepted) AS lost_samples,
            coalesce(sum(duration_ms) FILTER (NOT gone AND NOT accepted), 0) :: BIGINT AS gained_ms,
            count(*) FILTER (NOT gone AND NOT accepted) AS gained_segments,
            count(DISTINCT identity) - count(DISTINCT identity) FILTER (NOT gone) AS identities_lost
        FROM (SELECT *, {rejected} AS gone FROM segments)
        """
    )
    return Cost(limits={rule.setting: limit for rule, limit in changed}, **totals)


def as_documents(curves: list[LimitCurve]) -> list[dict[str, Any]]:
    return [asdict(curve) for curve in curves]


def _remaining_cause(rule: Rule, changed: list[Rule]) -> str:
    """SQL that is true where a rule's reason has a cause that none of the changed limits explains."""
    same = [other for other in changed if other.reason == rule.reason and other.limit is not None]
    explained = " OR ".join(other.fails(float(other.limit or 0.0)) for other in same) or "false"
    return f"(NOT accepted AND list_contains(reasons, '{rule.reason}') AND NOT ({explained}))"


def _ranges(tables: ReleaseTables, rules: list[Rule]) -> dict[str, tuple[float, float]]:
    """The range of each score, by setting, without the outermost values; none for a score that no segment has."""
    total = int(tables.row("SELECT count(*) AS total FROM segments")["total"])
    some = f"WHERE hash(key) % {total // _SAMPLED_ROWS + 1} = 0"
    columns = ", ".join(
        f"approx_quantile({rule.sql}, [{_TAIL}, {1 - _TAIL}]) AS q{i}, min({rule.sql}) AS low{i}, max({rule.sql}) AS high{i}"
        for i, rule in enumerate(rules)
    )
    found = tables.row(f"SELECT {columns} FROM segments {some}")
    ranges = {}
    for i, rule in enumerate(rules):
        if (low := found[f"low{i}"]) is None or not (math.isfinite(low) and math.isfinite(found[f"high{i}"])):
            continue
        inner = found[f"q{i}"]
        values = [max(low, inner[0]), min(found[f"high{i}"], inner[1]), *([rule.limit] if rule.limit is not None else [])]
        ranges[rule.setting] = (min(values), max(values))
    return ranges


def _curve(tables: ReleaseTables, rule: Rule, low: float, high: float) -> LimitCurve:
    step = _nice_step(high - low)
    origin = rule.limit if rule.limit is not None else math.floor(low / step) * step
    first, last = math.floor((low - origin) / step) - 1, math.ceil((high - origin) / step)
    rows = tables.rows(
        f"""
        SELECT CASE WHEN v IS NOT NULL THEN least(greatest({_bar_sql(rule, origin, step)}, {first}), {last}) END AS bar,
            other, sum(duration_ms) :: BIGINT AS ms, count(*) AS n
        FROM (
            SELECT *, CAST({_guess_sql(rule, origin, step)} AS BIGINT) AS guess
            FROM (
                SELECT duration_ms, {rule.fails_otherwise} AS other,
                    CASE WHEN {rule.sql} IS NOT NULL
                        THEN least(greatest({rule.sql}, {origin + (first - 1) * step!r}), {origin + (last + 2) * step!r}) END AS v
                FROM segments
            )
        )
        GROUP BY ALL
        """
    )
    size = last - first + 1
    kept, other, segments, unscored = [0] * size, [0] * size, [0] * size, {False: 0, True: 0}
    for row in rows:
        if row["bar"] is None:
            unscored[row["other"]] += row["ms"]
            continue
        bar = int(row["bar"]) - first
        (other if row["other"] else kept)[bar] += row["ms"]
        segments[bar] += row["n"]
    return LimitCurve(
        setting=rule.setting,
        reason=rule.reason,
        score=rule.score,
        unit=rule.unit,
        meaning=rule.meaning,
        upper=rule.upper,
        limit=rule.limit,
        origin=origin,
        step=step,
        first=first,
        kept_ms=kept,
        other_ms=other,
        segments=segments,
        unscored_kept_ms=unscored[False],
        unscored_other_ms=unscored[True],
    )


def _guess_sql(rule: Rule, origin: float, step: float) -> str:
    """SQL of the bar of a value v, which may be one off because of rounding."""
    place = f"(v - {origin!r} :: DOUBLE) / {step!r} :: DOUBLE"
    return f"ceil({place}) - 1" if rule.upper else f"floor({place})"


def _bar_sql(rule: Rule, origin: float, step: float) -> str:
    """SQL of the bar of a value v. The limits are the numbers `origin + i * step` as computed in double precision, exactly."""

    def edge(bar: str) -> str:
        return f"({origin!r} :: DOUBLE + CAST({bar} AS DOUBLE) * {step!r} :: DOUBLE)"

    below, above = (f"v <= {edge('guess')}", f"v > {edge('guess + 1')}") if rule.upper else (
        f"v < {edge('guess')}", f"v >= {edge('guess + 1')}"
    )  # fmt: skip
    return f"CASE WHEN v IS NULL THEN NULL WHEN {below} THEN guess - 1 WHEN {above} THEN guess + 1 ELSE guess END"


def _nice_step(width: float) -> float:
    """1, 2 or 5 times a power of ten, so that a width has 20 to 50 steps."""
    if width <= 0:
        return 1.0
    rough = width / _STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
