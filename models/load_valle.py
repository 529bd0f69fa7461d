"""Loads trained AR and NAR models for inference, from one run, from one run each, or from a file; and writes that file."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxbeam.assets import VOICE_WEIGHTS
from voxbeam.models.checkpoint import (
    SUFFIX,
    Checkpoint,
    best_step,
    checkpoint_store,
    read,
    read_checksum,
    read_file,
    read_file_checksum,
    require_codec,
    saved_steps,
    to_bytes,
)
from voxbeam.models.codec import Codec
from voxbeam.models.embedded_voice import EMBEDDED_VOICE, embedded_voice
from voxbeam.models.lineage import Lineage, lineage_of
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.durable import write_file

MODELS = ("ar", "nar")


def load_models(run_uri: str, device: str = "cpu", codec: Codec | None = None) -> tuple[ARModel, NARModel, ModelConfig]:
    """The AR and NAR models with averaged weights, in evaluation mode, and the configuration of the AR model.

    They come from the last checkpoint of a run, or of the runs `ar` and `nar` inside a folder, or from a file that
    `export_models` wrote; 'embedded' names the voice that ships with voxbeam. Raises CheckpointError if there is no checkpoint,
    if a model is missing, or if corpora or codecs do not match.
    """
    folder = run_uri.rstrip("/")
    checkpoints = read_models(folder)
    ar_config, nar_config = (_config(name, checkpoints[name], folder, codec) for name in MODELS)
    if (ar_config.n_phones, ar_config.codebook_size) != (nar_config.n_phones, nar_config.codebook_size):
        raise CheckpointError(
            f"the AR model in {folder} has {ar_config.n_phones} phones and {ar_config.codebook_size} codes per codebook, the NAR "
            f"model {nar_config.n_phones} and {nar_config.codebook_size}: they were trained on different corpora",
            remedy="train both on the same corpus",
        )
    ar, nar = ARModel(ar_config), NARModel(nar_config)
    ar.load_state_dict(averaged_weights("ar", checkpoints["ar"]))
    nar.load_state_dict(averaged_weights("nar", checkpoints["nar"]))
    return ar.to(device).eval(), nar.to(device).eval(), ar_config


def read_models(run_uri: str, *, best: bool = False) -> dict[str, Checkpoint]:
    """The checkpoints of the models `ar` and `nar`, which may be one: the last, or with `best` the best one if any is marked.

    Raises CheckpointError if there is none.
    """
    folder = run_uri.rstrip("/")
    if folder == EMBEDDED_VOICE:
        return embedded_voice()
    if folder.endswith(SUFFIX):
        return dict.fromkeys(MODELS, read_file(folder))
    stores = {name: checkpoint_store(part) for name, part in run_parts(folder).items()}
    found: dict[str, Checkpoint] = {}
    for store in {store.root: store for store in stores.values()}.values():
        marked = best_step(store) if best else None
        saved = read(store, marked[0] if marked else None)
        found |= {name: saved for name, other in stores.items() if other.root == store.root}
    return found


def weights_hash(run_uri: str) -> str:
    """What names the weights that `load_models` takes now: checksums, of which the headers of checkpoints tell.

    Another step of the same run has another one. Raises CheckpointError if there is none.
    """
    folder = run_uri.rstrip("/")
    if folder == EMBEDDED_VOICE:
        return hashlib.sha256(VOICE_WEIGHTS.read_bytes()).hexdigest()
    if folder.endswith(SUFFIX):
        return read_file_checksum(folder)
    return "-".join(read_checksum(checkpoint_store(part)) for part in dict.fromkeys(run_parts(folder).values()))


def run_parts(folder: str) -> dict[str, str]:
    """Where the checkpoints of each model are: in one run, or in the runs `ar` and `nar` of a folder; one may have none."""
    parts = {name: f"{folder}/{name}" for name in MODELS}
    if not saved_steps(checkpoint_store(folder)) and any(saved_steps(checkpoint_store(part)) for part in parts.values()):
        return parts
    return dict.fromkeys(MODELS, folder)


def export_models(run_uri: str, path: Path, *, card: str = "") -> dict[str, Any]:
    """Writes the averaged weights of a run, the best ones if it was validated, as one bf16 file that `load_models` reads.

    `card` says what a person should know: data, licence, limits. Returns the facts of the file. Raises CheckpointError as
    `load_models` does.
    """
    checkpoints = read_models(run_uri, best=True)
    configs = {name: asdict(_config(name, checkpoints[name], run_uri, None)) for name in MODELS}
    ar = checkpoints["ar"].facts
    facts = {
        "step": ar["step"],
        "config": {"train_models": list(MODELS)},
        "model": configs["ar"],
        "models": configs,
        "codec_sha256": ar["codec_sha256"],
        "data": {name: checkpoints[name].facts.get("data", {}) for name in MODELS},
        "lineage": Lineage({name: lineage_of(name, checkpoints[name], run_uri) for name in MODELS}).to_json(),
        "card": card,
    }
    tensors = {
        f"{name}/average/{parameter}": value.to(torch.bfloat16)
        for name in MODELS
        for parameter, value in averaged_weights(name, checkpoints[name]).items()
    }
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise CheckpointError(f"{run_uri} has weights that are not finite", remedy="export another run")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda file: file.write(to_bytes(Checkpoint(tensors, facts))), exclusive=False)
    return facts


def _config(name: str, checkpoint: Checkpoint, folder: str, codec: Codec | None) -> ModelConfig:
    trained = checkpoint.facts["config"]["train_models"]
    if name not in trained:
        raise CheckpointError(
            f"{folder} contains only the model {', '.join(trained)}",
            remedy=f"train {name} too: both in one run, or each in a run of its own with --out FOLDER/ar and --out FOLDER/nar, "
            "and name FOLDER",
        )
    if codec is not None:
        require_codec(checkpoint, codec.sha256, folder)
    fields = checkpoint.facts.get("models", {}).get(name, checkpoint.facts["model"])
    known = {"transformer": TransformerConfig(**fields["transformer"]), "phones": tuple(fields.get("phones", ()))}
    return ModelConfig(**fields | known)


def averaged_weights(name: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The averaged weights of a model, by the names of its parameters."""
    prefix = f"{name}/average/"
    return {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
