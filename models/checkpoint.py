"""Training checkpoints: one safetensors object per saved step, in a folder or a bucket.

An object appears whole or not at all: a local store writes a temporary file and renames it, and a bucket shows an object once its
upload is complete. A run that is killed while saving therefore keeps its earlier checkpoints. No pickle is ever read or written.
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
_KIND = "training"
"""name of the metadata entry of the safetensors file"""


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a run: tensors by name, and facts that are not tensors."""

    tensors: dict[str, Tensor]
    """`<model>/<weight|average|moment1|moment2>/<parameter>`, unsharded and on the CPU"""
    facts: dict[str, Any]
    """`step`, `loader_state`, `data_fingerprint`, `codec_sha256`, `config`, `model`"""


def checkpoint_store(run_uri: str) -> Store:
    """The folder or prefix of a run's checkpoints."""
    return Store(f"{run_uri.rstrip('/')}/checkpoints")


def saved_steps(store: Store) -> list[int]:
    """Steps with a checkpoint, ascending."""
    found = (_NAME.fullmatch(path) for path, _ in store.walk())
    return sorted(int(match[1]) for match in found if match)


def write(store: Store, step: int, checkpoint: Checkpoint, keep_last: int) -> None:
    """Saves a checkpoint, then deletes all but the last `keep_last`."""
    store.replace(_path(step), pack(checkpoint.tensors, _KIND, checkpoint.facts))
    store.delete([_path(old) for old in saved_steps(store)[:-keep_last]])


def read(store: Store, step: int | None = None) -> Checkpoint:
    """The checkpoint of a step, by default the last. Raises CheckpointError for none, or a damaged one."""
    if step is None:
        steps = saved_steps(store)
        if not steps:
            raise CheckpointError(f"no checkpoint in {store.root}", remedy="name the --out of a training run that has saved one")
        step = steps[-1]
    content = store.get(_path(step))
    try:
        return Checkpoint(*unpack(content, _KIND))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{store.uri(_path(step))} is not a voxbeam checkpoint ({error})",
            remedy="delete it to continue from the previous checkpoint",
        ) from error


def require_codec(checkpoint: Checkpoint, sha256: str, run_uri: str) -> None:
    """Raises CheckpointError if a run was trained on the codes of another codec; an empty hash is unknown and matches any."""
    trained = checkpoint.facts["codec_sha256"]
    if trained and sha256 and trained != sha256:
        raise CheckpointError(
            f"the run in {run_uri} was trained on the codes of the codec with sha256 {trained}, not {sha256}",
            remedy="name the codec of the corpus (--codec)",
        )


def _path(step: int) -> str:
    return f"step-{step:09d}.safetensors"
