"""Training checkpoints: one safetensors object per saved step, in a folder or a bucket.

An object appears whole or not at all: a local store writes a temporary file and renames it, and a bucket shows an object once its
upload is complete. A run that is killed while saving therefore keeps its earlier checkpoints. Its tensors have a checksum, so
that what a disk or a copy has changed is noticed. No pickle is ever read or written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.safetensors_io import pack, read_header, unpack
from voxbeam.storage.store import Store

_NAME = re.compile(r"step-(\d{9})\.safetensors")
_KIND = "training"
"""name of the metadata entry of the safetensors file"""
SUFFIX = ".safetensors"
_CHECKSUM = "tensors_sha256"
_BEST = "best.json"
_MAX_HEADER = 64 << 20


@dataclass(frozen=True)
class Checkpoint:
    """The complete state of a run: tensors by name, and facts that are not tensors."""

    tensors: dict[str, Tensor]
    """`<model>/<weight|average|moment1|moment2>/<parameter>`, unsharded and on the CPU"""
    facts: dict[str, Any]
    """`step`, `loader_state`, `config`, `model` (sizes and phone set), `codec_sha256`, and `data` (what it learned from: release,
    split, samples and the settings of the batches)"""


def checkpoint_store(run_uri: str) -> Store:
    """The folder or prefix of a run's checkpoints."""
    return Store(f"{run_uri.rstrip('/')}/checkpoints")


def saved_steps(store: Store) -> list[int]:
    """Steps with a checkpoint, ascending."""
    found = (_NAME.fullmatch(path) for path, _ in store.walk())
    return sorted(int(match[1]) for match in found if match)


def write(store: Store, step: int, checkpoint: Checkpoint, keep_last: int, best_loss: float | None = None) -> None:
    """Saves a checkpoint, then deletes all but the last `keep_last` and the best one.

    `best_loss` is the validation loss of a checkpoint that is better than all before it.
    """
    store.replace(_path(step), to_bytes(checkpoint))
    if best_loss is not None:
        store.replace(_BEST, json.dumps({"step": step, "loss": best_loss}).encode())
    best = best_step(store)
    store.delete([_path(old) for old in saved_steps(store)[:-keep_last] if best is None or old != best[0]])


def read(store: Store, step: int | None = None) -> Checkpoint:
    """The checkpoint of a step, by default the last. Raises CheckpointError for none, or a damaged one."""
    return _read(store, _path(_step(store, step)))


def read_file(uri: str) -> Checkpoint:
    """A checkpoint by its address. Raises CheckpointError if there is none, or a damaged one."""
    return _read(*_place(uri))


def _step(store: Store, step: int | None) -> int:
    """A step that has a checkpoint, by default the last. Raises CheckpointError if there is none."""
    steps = saved_steps(store)
    if not steps:
        raise CheckpointError(f"no checkpoint in {store.root}", remedy="name the --out of a training run that has saved one")
    if step is not None and step not in steps:
        raise CheckpointError(
            f"no checkpoint of step {step} in {store.root}", remedy=f"there are those of {', '.join(map(str, steps))}"
        )
    return steps[-1] if step is None else step


def _place(uri: str) -> tuple[Store, str]:
    """The folder and the name of a file that is there. Raises CheckpointError if it is not."""
    folder, _, name = uri.rpartition("/")
    store = Store(folder or ".")
    if not store.exists(name):
        raise CheckpointError(f"there is no {uri}", remedy="name a file that `voxbeam export` wrote, or the folder of a run")
    return store, name


def read_checksum(store: Store, step: int | None = None) -> str:
    """The checksum of the tensors of a step's checkpoint, by default the last, as its header tells. Raises as `read` does."""
    return _read_checksum(store, _path(_step(store, step)))


def read_file_checksum(uri: str) -> str:
    """The same of a checkpoint by its address."""
    return _read_checksum(*_place(uri))


def _read_checksum(store: Store, path: str) -> str:
    with _named(store, path):
        size = int.from_bytes(store.get_range(path, 0, 8), "little")
        facts = read_header(store.get_range(path, 8, min(size, _MAX_HEADER)), _KIND)
        if _CHECKSUM in facts:
            return str(facts[_CHECKSUM])
    return _checksum(_read(store, path).tensors)  # older ones have none


def _read(store: Store, path: str) -> Checkpoint:
    with _named(store, path):
        tensors, facts = unpack(store.get(path), _KIND)
        if facts.pop(_CHECKSUM, None) not in (None, _checksum(tensors)):  # older ones have none
            raise ValueError("its tensors do not have its checksum")
        return Checkpoint(tensors, facts)


@contextmanager
def _named(store: Store, path: str) -> Iterator[None]:
    """Turns what reading a checkpoint raises into CheckpointError."""
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{store.uri(path)} is not a whole voxbeam checkpoint ({error})",
            remedy="delete it to continue from the previous checkpoint",
        ) from error


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a safetensors file."""
    return pack(checkpoint.tensors, _KIND, {**checkpoint.facts, _CHECKSUM: _checksum(checkpoint.tensors)})


def best_step(store: Store) -> tuple[int, float] | None:
    """Step and validation loss of the best checkpoint; None if no checkpoint was validated."""
    if not store.exists(_BEST):
        return None
    try:
        tree = json.loads(store.get(_BEST))
        return int(tree["step"]), float(tree["loss"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{store.uri(_BEST)} cannot be read", remedy="delete it") from error


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


def _checksum(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of all tensors with their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
