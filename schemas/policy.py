"""Policy: the part of the configuration that decides what a release takes of the evidence in its units.

It is applied whenever results are read, never when they are made, so that a unit serves every policy.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError

from voxbeam.schemas.config import CorpusConfig, PhonemizeConfig, PurityConfig
from voxbeam.schemas.config_file import wrong_keys
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.policy_config import CorrectionsConfig, ExcludeConfig
from voxbeam.schemas.release import Release
from voxbeam.schemas.section import Section

DECISIONS = ("exclude", "corrections")
"""sections of what people decided, which may be long"""
_MAX_EXAMPLES = 3


class Policy(Section):
    """The rules, and what people decided."""

    filter: FilterConfig = FilterConfig()
    purity: PurityConfig = PurityConfig()
    exclude: ExcludeConfig = ExcludeConfig()
    corrections: CorrectionsConfig = CorrectionsConfig()
    phonemize: PhonemizeConfig = PhonemizeConfig()
    """for the phones of corrected texts"""

    @classmethod
    def of(cls, config: CorpusConfig) -> Self:
        """The policy of a configuration whose overlays are read (storage/overlays.py)."""
        return cls(**{name: getattr(config, name) for name in cls.model_fields})

    @property
    def keys(self) -> set[str]:
        """Every segment that it names."""
        return {*self.exclude.segments, *self.corrections.texts, *self.corrections.rejected}


def without_decisions(config: CorpusConfig) -> CorpusConfig:
    """The configuration without what people decided: small enough to travel with every step of a build."""
    return config.model_copy(update={"exclude": ExcludeConfig(), "corrections": CorrectionsConfig(), "overlays": ()})


def with_decisions(config: CorpusConfig, policy: Policy) -> CorpusConfig:
    """The configuration that a release states: the whole policy is in it."""
    return config.model_copy(update={name: getattr(policy, name) for name in DECISIONS})


def with_settings(release: Release, tree: Mapping[str, Any], where: str = "") -> CorpusConfig:
    """The configuration of a release with other settings, by section. Raises ConfigError for one that is not possible.

    `where` begins the message.
    """
    merged = {name: dict(value) if isinstance(value, dict) else value for name, value in release.config.items()}
    for name, value in tree.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    try:
        return CorpusConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(
            f"{where}not a policy for release {release.name}: {'; '.join(wrong_keys(error, CorpusConfig))}"
        ) from error


def changed_decisions(old: dict[str, Any], new: CorpusConfig) -> tuple[list[str], list[str]]:
    """One line for each kind of decision that differs from a release's configuration; and what would be taken back."""
    lines, taken_back = [], []
    for section in DECISIONS:
        for name, after in getattr(new, section):
            before = (old.get(section) or {}).get(name) or {}
            if before == after:
                continue
            added, gone = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
            other = sorted(key for key in before.keys() & after.keys() if before[key] != after[key])
            parts = [(len(added), "added", added), (len(gone), "taken back", gone), (len(other), "changed", other)]
            told = "; ".join(f"{count} {verb} ({', '.join(keys[:_MAX_EXAMPLES])})" for count, verb, keys in parts if count)
            lines.append(f"{section}.{name}: {told}")
            taken_back += [f"{section}.{name}: {key} ({before[key]})" for key in gone]
    return lines, taken_back


def inherited_decisions(config: CorpusConfig, own: CorpusConfig) -> list[str]:
    """What a configuration decides and `own`, the part of it that somebody wrote for this occasion, does not."""
    return [
        f"{section}.{name}: {key}"
        for section in DECISIONS
        for name, decided in getattr(config, section)
        for key in sorted(decided.keys() - getattr(getattr(own, section), name).keys())
    ]


def require_decisions_kept(release: str, old: dict[str, Any], new: CorpusConfig) -> None:
    """Raises ConfigError for a build that would take back what people decided for a release: `release` does that on purpose."""
    _, taken_back = changed_decisions(old, new)
    if taken_back:
        raise ConfigError(
            f"the configuration would take back {len(taken_back)} decisions of release {release} (e.g. {taken_back[0]})",
            remedy="put them into `exclude`, `corrections` or `overlays` of the configuration; to take them back, run "
            "`voxbeam release` with a configuration whose section lacks them",
        )
