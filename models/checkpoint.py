"""Checkpoint: one safetensors object per saved step, in a folder or a bucket.

An object appears whole or not at all (a local store writes aside and renames; a bucket shows a put when it is complete), so a run
that is killed while saving leaves its earlier checkpoints untouched. No pickle is ever read or written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.safetensors_io import pack, unpack
from voxbeam.storage.store import Store

_NAME = re.compile(r"step-(\d{9})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that continues a run: tensors by name, and the facts that are no tensors."""

    tensors: dict[str, Tensor]
    """`<model>/<weight|average|moment1|moment2>/<parameter>`, whole and on the CPU"""
    facts: dict[str, Any]
    """step, stream (the loader's integer), configuration"""


def checkpoint_store(run_uri: str) -> Store:
    """Where a run keeps its checkpoints."""
    return Store(f"{run_uri.rstrip('/')}/checkpoints")


def saved_steps(store: Store) -> list[int]:
    """Steps of which the store holds a checkpoint, in order."""
    found = (_NAME.fullmatch(path) for path, _ in store.walk())
    return sorted(int(match[1]) for match in found if match)


def write(store: Store, step: int, checkpoint: Checkpoint, keep: int) -> None:
    """Saves a checkpoint, then deletes all but the last `keep`."""
    store.replace(_path(step), pack(checkpoint.tensors, "fit", checkpoint.facts))
    store.delete([_path(old) for old in saved_steps(store)[:-keep]])


def read(store: Store, step: int | None = None) -> Checkpoint:
    """The checkpoint of a step, else the last one. Raises FileNotFoundError for none, CheckpointError for a damaged one."""
    if step is None:
        steps = saved_steps(store)
        if not steps:
            raise FileNotFoundError(f"no checkpoint in {store.root}: fit has not saved one there")
        step = steps[-1]
    content = store.get(_path(step))
    try:
        return Checkpoint(*unpack(content, "fit"))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{store.uri(_path(step))} is not a checkpoint of voxbeam ({error}); delete it to continue from the one before"
        ) from error


def require_codec(held: Checkpoint, sha256: str, run_uri: str) -> None:
    """Raises CheckpointError when a run learned the codes of a codec with another hash; an empty one is unknown."""
    learned = held.facts["codec"]
    if learned and sha256 and learned != sha256:
        raise CheckpointError(
            f"the run in {run_uri} learned the codes of a codec with sha256 {learned}, not of {sha256}: name that one (--codec)"
        )


def _path(step: int) -> str:
    return f"step-{step:09d}.safetensors"
