"""Lineage: everything that the weights of a checkpoint learned from: its own run, and the runs whose weights it began with.

A checkpoint keeps it, and so does an exported file: whoever asks whether a model learned from a person can follow it back without
the earlier runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from voxbeam.models.checkpoint import Checkpoint
from voxbeam.schemas.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A run that a model's weights are from, as far as it had come."""

    where: str
    """the run or the exported file"""
    data: dict[str, Any]
    """what it learned from, as a checkpoint says; empty if unknown"""
    step: int
    loader_state: int | None
    feeds: tuple[dict[str, Any], ...] = ()
    """what it had seen of tombstones: `feed` (an address), `count` and `digest`"""
    before: str | None = None
    """what it began with, where nothing else is known of that: a run of an earlier voxbeam"""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "feeds": list(self.feeds)}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Ancestor:
        return cls(**{**tree, "feeds": tuple(tree["feeds"])})


@dataclass(frozen=True)
class Lineage:
    """The runs that each model's weights are from, the newest first."""

    models: dict[str, tuple[Ancestor, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {name: [one.to_json() for one in runs] for name, runs in self.models.items()}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Lineage:
        return cls({name: tuple(map(Ancestor.from_json, runs)) for name, runs in tree.items()})


def lineage_of(name: str, checkpoint: Checkpoint, where: str) -> tuple[Ancestor, ...]:
    """The runs that the weights of a model of a checkpoint are from. Raises CheckpointError for facts that are none."""
    facts = checkpoint.facts
    try:
        known = Lineage.from_json(facts.get("lineage", {})).models.get(name, ())
        exported = "models" in facts  # by `export_models`, which writes the whole lineage
        if exported and known:
            return known
        data = facts.get("data", {})
        own = Ancestor(
            where=where, data=data.get(name, {}) if exported else data, step=int(facts["step"]),
            loader_state=facts.get("loader_state"), feeds=tuple(facts.get("tombstones", ())),
            before=None if known else facts.get("init_from"),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{where} does not say what it learned from ({error})", remedy="train it again") from error
    return (own, *known)
