"""What a checkpoint says of its run, and whether a run with certain settings may continue it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from voxbeam.models.checkpoint import Checkpoint
from voxbeam.safety.tombstones import Tombstones
from voxbeam.schemas.errors import CheckpointError, LedgerError
from voxbeam.schemas.leaves import leaves_by_name
from voxbeam.schemas.release import FeedHead

_COMPARED = ("config", "model", "data")
_FIXED = ("config.train_models", "config.seed", "model", "data")
"""settings of which the state of a run is a state: with others, it would be another run from its first step on"""
_SINCE = {"config.lora_rank": 0, "config.lora_alpha": 16.0}
"""further ones, and what they were for runs that do not know them"""
_IN_MODEL = ("config.transformer", "config.codebook_size")
"""what `model` says as well"""


def require_same_run(saved: Checkpoint, current: Mapping[str, Any], where: str) -> list[str]:
    """What else differs between a checkpoint and a run that continues it, such as "learning_rate was 0.001 and is 0.002".

    Raises CheckpointError for a difference that makes it another run.
    """
    before, now = ({name: facts.get(name) for name in _COMPARED} for facts in (saved.facts, _as_json(dict(current))))
    before, now = leaves_by_name(before), leaves_by_name(now)
    before = _SINCE | before
    names = sorted(name for name in before.keys() | now.keys() if not name.startswith(_IN_MODEL))
    differing = [name for name in names if before.get(name) != now.get(name)]
    fixed = [name for name in differing if any(name == one or name.startswith(f"{one}.") for one in (*_FIXED, *_SINCE))]
    if fixed:
        raise CheckpointError(
            f"{where} has a run with other settings: {'; '.join(_difference(name, before, now) for name in fixed)}",
            remedy="give the settings, corpus and release of that run (--config, --set, --release), or choose another folder",
        )
    # a setting that one side does not know is one that another version has
    return [_difference(name, before, now) for name in differing if name in before and name in now]


def seen_tombstones(feeds: Mapping[str, Tombstones]) -> list[dict[str, Any]]:
    """What a checkpoint says of the tombstones that its run has read, by the address of their corpus, even if none."""
    return [
        {"feed": feed, "count": len(one.digests), "digest": one.digests[-1] if one.digests else ""} for feed, one in feeds.items()
    ]


def require_seen_tombstones(saved: Checkpoint, feeds: Mapping[str, Tombstones], where: str) -> None:
    """Raises LedgerError unless some feed goes on from each that a checkpoint has seen: the newest tombstones could be gone."""
    for seen in (seen for seen in saved.facts.get("tombstones", ()) if seen["count"]):
        head = FeedHead(count=seen["count"], digest=seen["digest"])
        if not any(one.extends(head) for one in feeds.values()):
            now = ", ".join(f"{feed} has {len(one.all)}" for feed, one in feeds.items()) or "none is asked"
            raise LedgerError(
                f"{where} learned while {seen['feed']} had {head.count} tombstones, which are not there any more: {now}",
                remedy="restore tombstones/ of that corpus, or name a corpus that has all of them: --tombstones",
            )


def _as_json(tree: Any) -> Any:
    return json.loads(json.dumps(tree))


def _difference(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    old, new = before.get(name), now.get(name)
    label = name.removeprefix("config.").removeprefix("model.")
    if isinstance(old, list) and isinstance(new, list) and len(str(old)) + len(str(new)) > 80:
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return f"{label} had {len(old)} entries and has {len(new)}; the first that differs is number {at}"
    return f"{label} was {_shown(old)} and is {_shown(new)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value) if not isinstance(value, str) else value
