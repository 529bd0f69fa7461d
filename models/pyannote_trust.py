"""Keeps pyannote from running code that a pipeline or a checkpoint names.

pyannote unpickles checkpoints without restriction, and imports the class that a `config.yaml` or a checkpoint names. `restrict`
replaces these steps: checkpoints are read with `weights_only`, and only pyannote's own classes are imported.
"""

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from pyannote.audio.core import model as model_loader
from pyannote.audio.core import pipeline as pipeline_loader
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.pipelines import SpeakerDiarization, speaker_diarization
from torch.torch_version import TorchVersion

from voxbeam.schemas.errors import ModelError

_PIPELINES = "pyannote.audio.pipelines."
_MODELS = "pyannote.audio.models."
_OWN_PIPELINE = "voxbeam.models.pyannote_models.StockPipeline"
_DATA_CLASSES: list[Any] = [Problem, Resolution, Specifications, TorchVersion]
"""classes without behavior that pyannote's checkpoints contain"""


def restrict() -> None:
    """Restricts what pyannote loads in this process. Calling it again changes nothing."""
    from lightning.pytorch.core import saving

    # overrides even an explicit weights_only=False, also in parts of pyannote and torchaudio that are not replaced below
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    for module, name, replacement in (
        (pipeline_loader, "get_class_by_name", _pipeline_class),
        (pipeline_loader, "FileFinder", _no_preprocessor),
        (model_loader, "import_module", _model_module),
        (model_loader, "pl_load", _load_checkpoint),
        (saving, "pl_load", _load_checkpoint),
        (speaker_diarization, "PretrainedSpeakerEmbedding", _speaker_embedding),
    ):
        if not hasattr(module, name):
            raise ModelError(
                f"{module.__name__} has no {name}: this release of pyannote.audio cannot be kept from running code of a model",
                remedy="install the release that pyproject.toml names, or set diarize.pipeline to 'embedded'",
            )
        setattr(module, name, replacement)


def _pipeline_class(class_name: Any, default_module_name: str | None = None) -> type:
    """The class of a pipeline by its dotted name."""
    name = str(class_name)
    if name == _OWN_PIPELINE or name.startswith(_PIPELINES):
        module, _, attribute = name.rpartition(".")
        found = getattr(_import(module), attribute, None)
        if isinstance(found, type) and issubclass(found, SpeakerDiarization):
            return found
    raise ModelError(
        f"the pipeline asks to import {name[:200]!r}, which is not a diarization pipeline of pyannote.audio; it is not imported, "
        "since it could run any code",
        remedy=f"name {_PIPELINES}SpeakerDiarization in its config.yaml, without preprocessors",
    )


def _no_preprocessor(*_: Any, **__: Any) -> Any:
    raise ModelError("the pipeline has preprocessors, which could read any file", remedy="remove them from its config.yaml")


def _model_module(name: Any) -> ModuleType:
    """The module of a model's architecture."""
    if str(name).startswith(_MODELS):
        return _import(str(name))
    raise ModelError(
        f"the checkpoint asks to import {str(name)[:200]!r}, which is not an architecture of pyannote.audio; it is not imported, "
        "since it could run any code",
        remedy="use a checkpoint of an architecture in pyannote.audio.models",
    )


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"there is no module {name[:200]}: {error}", remedy="use a model that the installed pyannote.audio knows"
        ) from error


def _load_checkpoint(path_or_url: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """A checkpoint as tensors and plain data, whatever `weights_only` says."""
    if not isinstance(path_or_url, (str, os.PathLike)):
        content = path_or_url
    elif "://" in str(path_or_url):
        raise ModelError(f"the checkpoint {path_or_url} is not a file", remedy="download it, and name its path")
    else:
        content = os.fspath(path_or_url)
    try:
        with torch.serialization.safe_globals(_DATA_CLASSES):
            checkpoint = torch.load(content, map_location=map_location, weights_only=True)
    except Exception as error:  # unpickling damaged or hostile bytes raises many types of errors
        raise ModelError(
            f"the checkpoint {path_or_url} is not made of tensors and plain data only, so loading it could run code: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
            remedy="take the checkpoint from its publisher, or save it again without its optimizer, callbacks and objects",
        ) from error
    parameters = checkpoint.get("hyper_parameters", {}) if isinstance(checkpoint, dict) else None
    if not isinstance(parameters, dict) or "_instantiator" in parameters or "_class_path" in parameters:
        raise ModelError(
            f"the checkpoint {path_or_url} is not one of pyannote.audio, or names a class to be made",
            remedy="take the checkpoint from its publisher",
        )
    return checkpoint


def _speaker_embedding(embedding: Any, *arguments: Any, **options: Any) -> Any:
    """pyannote's wrapper of an embedding model, but not of SpeechBrain's or NeMo's: their configurations name code to be run."""
    from pyannote.audio.pipelines.speaker_verification import PretrainedSpeakerEmbedding

    if isinstance(embedding, str) and "pyannote" not in embedding and ("speechbrain" in embedding or "nvidia" in embedding):
        raise ModelError(
            f"the embedding model {embedding[:200]!r} has a configuration that can run code; it is not loaded",
            remedy="use an embedding model of pyannote.audio or WeSpeaker",
        )
    return PretrainedSpeakerEmbedding(embedding, *arguments, **options)
