"""Hub models: the local files behind the names of models that an engine fetches from a hub, and the hash of what it loads.

A name on a hub says nothing of the bytes behind it: they are hashed like those of a path.
"""

import hashlib
from pathlib import Path
from typing import Any

from voxbeam.schemas.bounded_yaml import parse_yaml
from voxbeam.storage.cache import model_hash, resolve_model
from voxbeam.storage.hub import folder_hash, hub_folder

WHISPER_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""what faster-whisper loads"""
_PYANNOTE_FILES = ("config.yaml", "*.bin", "*.npz", "*.safetensors")
_PYANNOTE_PARTS = ("segmentation", "embedding", "plda")
"""parameters of a pipeline that may name a model of their own"""


def whisper_files(name: str) -> Path:
    """A Whisper model of CTranslate2: a path, a bucket address, a size such as 'large-v3', or a repository of a hub.

    Raises OSError when it is neither in the cache of the hub nor to be fetched.
    """
    path = resolve_model(name)
    return path if path.exists() else hub_folder(_repository(name), "model.bin", WHISPER_FILES)


def whisper_hash(name: str) -> str:
    """Of the bytes that `whisper_files` names."""
    return model_hash(name) if resolve_model(name).exists() else folder_hash(whisper_files(name), WHISPER_FILES)


def openai_whisper_hash(name: str) -> str:
    """Of a checkpoint of openai-whisper, which compares its published ones with their hash when it loads them."""
    if resolve_model(name).exists():
        return model_hash(name)
    import whisper

    published: dict[str, str] = whisper._MODELS
    if name not in published:
        raise FileNotFoundError(f"there is no model at {name}, and openai-whisper has none of this name")
    return published[name].split("/")[-2]


def pyannote_files(name: str) -> Path:
    """A pyannote pipeline: a path, a bucket address, or a repository of a hub. Raises OSError when it cannot be had."""
    path = resolve_model(name)
    return path if path.exists() else hub_folder(name, "config.yaml", _PYANNOTE_FILES)


def pyannote_hash(name: str) -> str:
    """Of a pipeline and of the models on a hub that its configuration names."""
    path = pyannote_files(name)
    own = model_hash(name) if resolve_model(name).exists() else folder_hash(path, _PYANNOTE_FILES)
    parts = [folder_hash(hub_folder(part, "pytorch_model.bin", _PYANNOTE_FILES), _PYANNOTE_FILES) for part in _parts(path)]
    return hashlib.sha256("".join([own, *parts]).encode()).hexdigest() if parts else own


def _repository(name: str) -> str:
    from faster_whisper.utils import _MODELS

    return str(_MODELS.get(name, name))


def _parts(path: Path) -> list[str]:
    """The repositories that the configuration of a pipeline names."""
    file = path / "config.yaml" if path.is_dir() else path
    try:
        tree: Any = parse_yaml(file.read_bytes())
        params: dict[str, Any] = tree["pipeline"]["params"]
        named = [params.get(part) for part in _PYANNOTE_PARTS]
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return []  # loading it says what is wrong with it
    return [name for name in named if isinstance(name, str) and name.count("/") == 1 and not name.startswith(("$", ".", "/"))]
