"""Rules: which score each rule of the configuration compares with its limit, as SQL over the table `segments`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.manifest import RejectedRow
from voxbeam.schemas.policy import with_settings
from voxbeam.schemas.release import Release


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that rejects a segment whose score is on the wrong side of a limit."""

    setting: str
    """key of the limit in the configuration, e.g. `filter.min_snr_db`"""
    reason: str
    """code of the reason that it gives"""
    score: str
    """column of the score"""
    value: str = ""
    """SQL of what is compared, where that is not the column itself; null where the rule does not apply"""
    limit: float | None = None
    """null turns the rule off"""

    @property
    def upper(self) -> bool:
        """Whether the limit is a maximum."""
        return self.setting.rpartition(".")[2].startswith("max_")

    @property
    def sql(self) -> str:
        """SQL of what is compared, as DOUBLE."""
        return f"CAST({self.value or self.score} AS DOUBLE)"

    def fails(self, limit: float) -> str:
        """SQL that is true for a segment that fails the rule with a limit, false for any other."""
        return f"COALESCE({self.sql} {'>' if self.upper else '<'} {limit!r} :: DOUBLE, false)"

    @property
    def fails_otherwise(self) -> str:
        """SQL that is true for a segment that is rejected whatever this limit is: for another reason, or for another cause of
        the same one (a language that is not the listed one, the other limit of `mixed_voices`)."""
        others = f"len(list_filter(reasons, lambda reason: reason <> '{self.reason}')) > 0"
        if self.limit is None:
            cause = f"list_contains(reasons, '{self.reason}')"
        else:
            cause = f"(list_contains(reasons, '{self.reason}') AND NOT {self.fails(self.limit)})"
        return f"CASE WHEN accepted THEN false ELSE {others} OR {cause} END"

    @property
    def meaning(self) -> str:
        """What the score is."""
        field = arrow_schema(RejectedRow).field(self.score)
        return (field.metadata or {})[b"doc"].decode()

    @property
    def unit(self) -> str:
        field = arrow_schema(RejectedRow).field(self.score)
        return (field.metadata or {})[b"unit"].decode()


_RULES = (
    Rule(setting="filter.min_dnsmos_ovrl", reason="low_dnsmos", score="dnsmos_ovrl"),
    Rule(setting="filter.min_snr_db", reason="low_snr", score="snr_db"),
    Rule(setting="filter.min_bandwidth_hz", reason="narrow_band", score="bandwidth_hz"),
    Rule(setting="filter.min_speech_ratio", reason="low_speech_ratio", score="speech_ratio"),
    Rule(setting="filter.max_clipping", reason="clipped", score="clipping"),
    Rule(setting="filter.max_dropouts", reason="dropouts", score="dropouts"),
    Rule(setting="filter.max_background_tonality", reason="music", score="background_tonality"),
    Rule(setting="filter.max_edge_jump", reason="cut_word", score="edge_jump"),
    Rule(setting="filter.max_codec_trace", reason="codec_trace", score="codec_trace"),
    Rule(setting="filter.min_loudness_lufs", reason="quiet", score="loudness_lufs"),
    Rule(setting="filter.min_language_probability", reason="language", score="language_probability"),
    Rule(setting="filter.min_avg_logprob", reason="low_logprob", score="avg_logprob"),
    Rule(setting="filter.max_no_speech_prob", reason="no_speech", score="no_speech_prob"),
    Rule(setting="filter.max_compression_ratio", reason="repetitive", score="compression_ratio"),
    Rule(setting="filter.min_chars_per_second", reason="too_slow", score="chars_per_second"),
    Rule(setting="filter.max_chars_per_second", reason="too_fast", score="chars_per_second"),
    Rule(setting="filter.max_spectral_pace", reason="sped_up", score="spectral_pace"),
    Rule(setting="filter.max_reference_wer", reason="differs_from_text", score="reference_wer"),
    Rule(setting="filter.max_second_wer", reason="recognizers_differ", score="second_wer"),
    Rule(setting="filter.max_second_repeats", reason="repetition", score="second_repeats", value="abs(second_repeats)"),
    Rule(setting="purity.max_voice_distance", reason="mixed_voices", score="voice_distance"),
    Rule(setting="purity.max_second_voice", reason="mixed_voices", score="second_voice"),
)
_WITHOUT_TEXT = "CASE WHEN NOT list_contains(reasons, 'no_text') THEN chars_per_second END"
"""the pace of a segment without words is not judged"""


def rules_of(config: Mapping[str, Any]) -> list[Rule]:
    """The rules that compare a score of the tables, with the limits of a release's configuration.

    Rules that read the text itself (ngram_loop, few_unique_words, hallucinated_phrase, no_text) have no score in the tables.
    """
    return list(_with_limits(config))


def find_rule(rules: list[Rule], name: str) -> Rule:
    """The rule of a setting, by its key with or without the section. Raises ConfigError for any other name."""
    for rule in rules:
        if name in (rule.setting, rule.setting.partition(".")[2]):
            return rule
    names = ", ".join(rule.setting.partition(".")[2] for rule in rules)
    raise ConfigError(f"there is no limit {name!r}", remedy=f"the limits are {names}")


def require_possible(release: Release, rules: list[Rule], limits: Mapping[str, float]) -> None:
    """Raises ConfigError for limits that no release by a policy could have."""
    tree: dict[str, dict[str, float]] = {}
    for name, limit in limits.items():
        section, _, key = find_rule(rules, name).setting.partition(".")
        tree.setdefault(section, {})[key] = limit
    with_settings(release, tree)


def _with_limits(config: Mapping[str, Any]) -> Iterator[Rule]:
    for rule in _RULES:
        section, _, key = rule.setting.partition(".")
        limits = config.get(section, {})
        if key not in limits:  # a release of another version
            continue
        if rule.score == "codec_trace" and not config.get("score", {}).get("codec_trace"):  # nobody asked
            continue
        value = rule.value
        if rule.reason == "music" and (bak := limits.get("max_music_dnsmos_bak")) is not None:
            value = f"CASE WHEN dnsmos_bak < {float(bak)!r} THEN background_tonality END"
        elif rule.reason == "sped_up" and (least := limits.get("min_hurried_chars_per_second")) is not None:
            value = f"CASE WHEN ({_WITHOUT_TEXT}) > {float(least)!r} THEN spectral_pace END"
        elif rule.score == "chars_per_second":
            value = _WITHOUT_TEXT
        limit = limits[key]
        yield replace(rule, value=value, limit=None if limit is None else float(limit))
