"""Trained: AR and NAR as their training left them, ready to speak. They may come from one run, or from one each."""

from __future__ import annotations

from torch import Tensor

from voxbeam.models.checkpoint import Checkpoint, checkpoint_store, read, require_codec, saved_steps
from voxbeam.models.codec import Codec
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import AR, NAR, ModelConfig
from voxbeam.schemas.errors import CheckpointError


def load_models(run_uri: str, device: str = "cpu", codec: Codec | None = None) -> tuple[AR, NAR, ModelConfig]:
    """The averaged AR and NAR of a run's last checkpoint, or of the runs `ar` and `nar` in a folder; AR's configuration.

    Raises FileNotFoundError where there is no checkpoint; CheckpointError where a run lacks a model, where the two do not belong
    together, and where one learned the codes of another codec than this.
    """
    folder = run_uri.rstrip("/")
    if not saved_steps(checkpoint_store(folder)) and saved_steps(checkpoint_store(f"{folder}/ar")):
        ar_held, nar_held = (read(checkpoint_store(f"{folder}/{name}")) for name in ("ar", "nar"))
    else:
        ar_held = nar_held = read(checkpoint_store(folder))
    ar_config, nar_config = _config("ar", ar_held, folder, codec), _config("nar", nar_held, folder, codec)
    if (ar_config.n_phones, ar_config.codebook_size) != (nar_config.n_phones, nar_config.codebook_size):
        raise CheckpointError(
            f"the AR model in {folder} has {ar_config.n_phones} phones and {ar_config.codebook_size} codes per codebook, the NAR "
            f"model {nar_config.n_phones} and {nar_config.codebook_size}: they were trained on different corpora"
        )
    ar, nar = AR(ar_config), NAR(nar_config)
    ar.load_state_dict(_average("ar", ar_held))
    nar.load_state_dict(_average("nar", nar_held))
    return ar.to(device).eval(), nar.to(device).eval(), ar_config


def _config(name: str, held: Checkpoint, folder: str, codec: Codec | None) -> ModelConfig:
    found = held.facts["config"]["train_models"]
    if name not in found:
        raise CheckpointError(
            f"{folder} holds {', '.join(found)} alone; to speak, train {name} too: both in one run, or each in one of its own "
            "with --out FOLDER/ar and --out FOLDER/nar, and name FOLDER"
        )
    if codec is not None:
        require_codec(held, codec.sha256, folder)
    fields = held.facts["model"]
    return ModelConfig(**fields | {"transformer": TransformerConfig(**fields["transformer"])})


def _average(name: str, held: Checkpoint) -> dict[str, Tensor]:
    prefix = f"{name}/average/"
    return {key.removeprefix(prefix): value for key, value in held.tensors.items() if key.startswith(prefix)}
