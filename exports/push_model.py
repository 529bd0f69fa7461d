"""Pushes an exported model to the Hugging Face Hub: one file of weights, and a card that says what a person should know."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from voxbeam.models.load_valle import export_models
from voxbeam.schemas.bounded_yaml import parse_yaml
from voxbeam.schemas.errors import ConfigError, StorageError

WEIGHTS = "voice.safetensors"
_EXAMPLE = "begin the card with ---, a line such as license: cc-by-4.0, and --- (https://huggingface.co/docs/hub/model-cards)"


def push_model(run_uri: str, repository: str, card: str) -> str:
    """Puts a run's best averaged weights and a card into a repository of the Hub, and returns the address of the commit.

    A repository that is not there is created, private: a person decides whom a voice is shown to. The token is that of
    `hf auth login`, or `$HF_TOKEN`; `$HF_ENDPOINT` names another Hub. Raises ConfigError for a card without a licence,
    CheckpointError as `export_models` does, StorageError if the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    require_licence(card)
    with tempfile.TemporaryDirectory(prefix="voxbeam-push-") as temporary:
        folder = Path(temporary)
        facts = export_models(run_uri, folder / WEIGHTS, card=card)
        (folder / "README.md").write_text(f"{card.rstrip()}\n\n{facts_section(facts, repository)}", encoding="utf-8")
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="voxbeam")
        try:
            api.create_repo(repository, private=True, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=f"Weights of step {facts['step']}, by voxbeam"
            )
        except Exception as error:  # of several libraries: names, tokens, the network
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StorageError(
                f"{repository} was not pushed to the Hub ({reason})",
                remedy="check the name, the network, and that `hf auth login` or $HF_TOKEN has a token that may write",
            ) from error
    return str(done.commit_url)


def require_licence(card: str) -> None:
    """Raises ConfigError unless a card begins with YAML that names a licence: nobody may use a voice without one."""
    _, dashes, rest = card.partition("---\n")
    front, end, _ = rest.partition("\n---")
    if not card.startswith("---\n") or not dashes or not end:
        raise ConfigError("the card has no metadata, so the Hub would know no licence", remedy=_EXAMPLE)
    try:
        metadata = parse_yaml(front.encode())
    except ValueError as error:
        raise ConfigError(f"the metadata of the card cannot be read: {error}", remedy=_EXAMPLE) from error
    if not isinstance(metadata, dict) or not metadata.get("license"):
        raise ConfigError("the metadata of the card names no license", remedy=_EXAMPLE)


def facts_section(facts: dict[str, Any], repository: str) -> str:
    """What a program knows of a model, and how to use it, in Markdown."""
    sizes = "; ".join(
        f"{name.upper()}: {model['transformer']['n_layers']} layers, d = {model['transformer']['d_model']}, "
        f"{model['transformer']['n_heads']} heads"
        for name, model in facts["models"].items()
    )
    rows = [
        ("architecture", f"VALL-E by voxbeam; {sizes}; bf16, averaged weights of step {facts['step']}"),
        ("phones", str(len(facts["model"]["phones"]) or facts["model"]["n_phones"])),
        ("codec, SHA-256", facts["codec_sha256"] or "unknown"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    name = repository.rpartition("/")[2]
    return (
        f"## The file\n\n| | |\n|---|---|\n{table}\n\n"
        f"```sh\nhf download {repository} {WEIGHTS} --local-dir {name}\n"
        f'voxbeam generate {name}/{WEIGHTS} --prompt me.wav --text "Hello." --out hello.wav\n```\n\n'
        "Nothing is spoken in a person's voice unless that person has allowed it, and what is spoken carries a watermark.\n"
    )
