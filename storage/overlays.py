"""Overlays: files of exclusions and corrections beside a configuration, such as an audit writes.

JSON lines. A line names one thing (`recording`, `speaker`, `identity`, `voice`, `segment` or `key`) and gives a `reason`; or it
gives the `text` of a `key`. `segment` leaves a segment out, `key` says that it is wrong. `by` and `at`, who said it and when, may
stand in it too. A later line about the same thing counts instead of an earlier one.
"""

import json
from typing import Any

from pydantic import ValidationError

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.policy_config import CorrectionsConfig, ExcludeConfig
from voxbeam.storage.address import resolve_address
from voxbeam.storage.listing_text import unique_pairs
from voxbeam.storage.local_copies import open_local

MAX_OVERLAY_BYTES = 64 << 20
"""a release states its whole policy, which every reader of the release reads"""
_EXCLUDED = {
    "recording": "recordings", "speaker": "speakers", "identity": "identities", "voice": "voices", "segment": "segments",
}  # fmt: skip
_UNUSED = {"by", "at"}


def read_overlays(config: CorpusConfig) -> CorpusConfig:
    """The configuration with its overlays among its exclusions and corrections; what they say counts before what it says.

    Raises ConfigError, naming file and line, for a file that cannot be read and a line that is none.
    """
    if not config.overlays:
        return config
    exclude = {name: dict(names) for name, names in config.exclude}
    texts, rejected = dict(config.corrections.texts), dict(config.corrections.rejected)
    for uri in config.overlays:
        for place, line in _lines(uri):
            kind, name, reason, text = _parse(place, line)
            if text is not None:
                texts[name] = text
                rejected.pop(name, None)
            elif kind == "key":
                rejected[name] = reason
                texts.pop(name, None)
            else:
                exclude[_EXCLUDED[kind]][name] = reason
    try:
        decisions = {
            "exclude": ExcludeConfig.model_validate(exclude),
            "corrections": CorrectionsConfig(texts=texts, rejected=rejected),
        }
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"an overlay has a wrong entry: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return config.model_copy(update={**decisions, "overlays": ()})


def _lines(uri: str) -> list[tuple[str, str]]:
    try:
        with open_local(resolve_address(uri)) as path:
            size = path.stat().st_size
            if size > MAX_OVERLAY_BYTES:
                raise ConfigError(f"the overlay {uri} has {size} bytes, more than {MAX_OVERLAY_BYTES}")
            lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no overlay at {uri}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the overlay {uri}: {error}") from error
    return [(f"{uri}, line {number}", line) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(place: str, line: str) -> tuple[str, str, str, str | None]:
    """What a line names, its name, the reason, and the text if it gives one."""
    remedy = 'a line is such as {"key": "…", "text": "…"} or {"recording": "…", "reason": "…"}'
    try:
        tree: dict[str, Any] = json.loads(line, object_pairs_hook=unique_pairs)
        kinds = [kind for kind in (*_EXCLUDED, "key") if kind in tree]
        says = [what for what in ("reason", "text") if what in tree]
        wrong = set(tree) - {*kinds, *says, *_UNUSED}
        values = [tree[name] for name in (*kinds, *says)]
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{place}: not a JSON object: {error}", remedy=remedy) from error
    whole = len(kinds) == len(says) == 1 and not wrong and (says == ["reason"] or kinds == ["key"])
    if not whole or not all(isinstance(value, str) and value.strip() for value in values):
        raise ConfigError(f"{place} is no exclusion and no correction", remedy=remedy)
    text = tree.get("text")
    return kinds[0], tree[kinds[0]], tree.get("reason", ""), text
