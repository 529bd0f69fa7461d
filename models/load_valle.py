"""Loads trained AR and NAR models for inference, from one run or from one run each."""

from __future__ import annotations

from torch import Tensor

from voxbeam.models.checkpoint import Checkpoint, checkpoint_store, read, require_codec, saved_steps
from voxbeam.models.codec import Codec
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.schemas.errors import CheckpointError


def load_models(run_uri: str, device: str = "cpu", codec: Codec | None = None) -> tuple[ARModel, NARModel, ModelConfig]:
    """The AR and NAR models with averaged weights, in evaluation mode, and the configuration of the AR model.

    They come from the last checkpoint of a run, or of the runs `ar` and `nar` inside a folder. Raises CheckpointError if
    there is no checkpoint, if a model is missing, or if corpora or codecs do not match.
    """
    folder = run_uri.rstrip("/")
    if not saved_steps(checkpoint_store(folder)) and saved_steps(checkpoint_store(f"{folder}/ar")):
        ar_checkpoint, nar_checkpoint = (read(checkpoint_store(f"{folder}/{name}")) for name in ("ar", "nar"))
    else:
        ar_checkpoint = nar_checkpoint = read(checkpoint_store(folder))
    ar_config, nar_config = _config("ar", ar_checkpoint, folder, codec), _config("nar", nar_checkpoint, folder, codec)
    if (ar_config.n_phones, ar_config.codebook_size) != (nar_config.n_phones, nar_config.codebook_size):
        raise CheckpointError(
            f"the AR model in {folder} has {ar_config.n_phones} phones and {ar_config.codebook_size} codes per codebook, the NAR "
            f"model {nar_config.n_phones} and {nar_config.codebook_size}: they were trained on different corpora",
            remedy="train both on the same corpus",
        )
    ar, nar = ARModel(ar_config), NARModel(nar_config)
    ar.load_state_dict(_averaged_weights("ar", ar_checkpoint))
    nar.load_state_dict(_averaged_weights("nar", nar_checkpoint))
    return ar.to(device).eval(), nar.to(device).eval(), ar_config


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
    fields = checkpoint.facts["model"]
    known = {"transformer": TransformerConfig(**fields["transformer"]), "phones": tuple(fields.get("phones", ()))}
    return ModelConfig(**fields | known)


def _averaged_weights(name: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    prefix = f"{name}/average/"
    return {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
