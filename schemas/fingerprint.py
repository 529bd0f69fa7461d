"""Fingerprints: for every stage, a hash of everything that can change its result. Policy cannot.

A stage's fingerprint covers its code, its section of the configuration, its models and libraries, and the stages that it reads. A
unit's is that of all of them. So units that differ show which stages have to run again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.formats import codec_stage

EVIDENCE_VERSION = 7
"""code version since which a unit holds every segment that was cut, whatever the policy says of it"""

SOUND = "sound"
"""what makes the FLAC of each segment, as if it were a stage"""
READS: dict[str, str | None] = {
    "decode": None,
    "diarize": "decode",
    "segment": "diarize",
    "purity": "segment",
    "transcribe": "segment",
    "score": "segment",
    "tokenize": "segment",
    "phonemize": "transcribe",
    SOUND: "segment",
}
"""stage → the stage whose result it reads, in the order in which they run; each further codec is a stage too (`stage_reads`)"""
LISTED = ("transcribe", "phonemize")
"""stages whose result depends on the language and the text that a recording is listed with"""

_CODE: dict[str, tuple[int, ...]] = {
    "diarize": (12,),
    "segment": (12,),
    "score": (8, 9, 11),
    "transcribe": (10, 13),
    "phonemize": (13, 15),
}
"""stage → later code versions that changed its results, and not those of all stages; a version that no stage names changed all"""
_MODELS = {
    "diarize": ("diarize",),
    "transcribe": ("transcribe", "transcribe.language", "transcribe.second"),
    "score": ("score",),
    "tokenize": ("tokenize",),
    "phonemize": ("phonemize.inventory", "phonemize.espeak"),
}
_LIBRARIES = {
    "decode": ("soxr",),
    "diarize": ("pyannote.audio", "torch"),
    "transcribe": ("ctranslate2", "faster-whisper", "onnxruntime", "openai-whisper", "torch"),
    "score": ("onnxruntime",),
    "tokenize": ("encodec", "torch"),
    "phonemize": ("phonemizer",),
}
_FURTHER_LIBRARIES = ("torch",)
"""of a further codec; the version of `encodec` is among its own models, so that it does not count for the first codec"""
_ON_DEVICE = ("diarize", "transcribe", "score", "tokenize")
_AT_PACKING = ("identify",)
"""models that finished units are packed with"""
_NOT_FINGERPRINTED: dict[str, Any] = {
    "listing": True,
    "decode": {"timeout_s", "memory_mb"},
    "filter": True,
    "purity": {"max_voice_distance", "max_second_voice"},
    "exclude": True,
    "corrections": True,
    "overlays": True,
    "link_speakers": True,
    "identify": True,
    "pack": {"max_shard_mb", "target_shard_mb", "valid_fraction", "test_fraction"},
}


def kind_of_stage(stage: str) -> str:
    """What a stage does: `tokenize` for that of every codec."""
    return stage.partition(".")[0]


def stage_reads(config: CorpusConfig) -> dict[str, str | None]:
    """READS with the stage of each further codec, after that of the first."""
    found: dict[str, str | None] = {}
    for stage, read in READS.items():
        found[stage] = read
        if stage == "tokenize":
            found |= {codec_stage(name): read for name in config.codecs}
    return found


def affects_units(key: str) -> bool:
    """Whether a key of the configuration, such as `segment.max_s`, can change the result of a unit."""
    section, _, name = key.partition(".")
    excluded = _NOT_FINGERPRINTED.get(section, set())
    return excluded is not True and name not in excluded


def stage_fingerprints(config: CorpusConfig, models: Mapping[str, str], code_version: int) -> dict[str, str]:
    """The fingerprint of each stage. What no stage is known to use, a model or a library, counts for all of them."""
    tree = config.model_dump(mode="json", exclude=_NOT_FINGERPRINTED)
    sections = {**tree, SOUND: tree["pack"], **{codec_stage(name): codec for name, codec in tree.get("codecs", {}).items()}}
    stage_models = {**_MODELS, **{codec_stage(name): codec_models(name) for name in config.codecs}}
    libraries = dict(pair.split("=", 1) for pair in models.get("libraries", "").split())
    unknown = {
        "models": _without(models, [*_AT_PACKING, "libraries", *_flat(stage_models)]),
        "libraries": _without(libraries, _flat(_LIBRARIES)),
    }
    found: dict[str, str] = {}
    for stage, read in stage_reads(config).items():
        kind = kind_of_stage(stage)
        used = _FURTHER_LIBRARIES if stage != kind else _LIBRARIES.get(kind, ())
        found[stage] = _hash(
            {
                "code": _code(kind, code_version),
                "config": sections[stage],
                "models": {name: models.get(name) for name in stage_models.get(stage, ())},
                "libraries": {name: libraries.get(name) for name in used},
                "device": tree["device"] if kind in _ON_DEVICE else None,
                "reads": unknown if read is None else found[read],
            }
        )
    return found


def fingerprint(config: CorpusConfig, models: Mapping[str, str], code_version: int) -> str:
    """Hash of everything that can change the result of a unit."""
    return _hash(stage_fingerprints(config, models, code_version))


def codec_models(name: str) -> tuple[str, str]:
    """The names of what makes the codes of a further codec: its weights, and the package of its layers."""
    return codec_stage(name), f"{codec_stage(name)}.encodec"


def with_listing(stages: Mapping[str, str], language: str | None, text_digest: str) -> dict[str, str]:
    """The fingerprints of stages for a recording that is listed with a language and a text."""
    listed = f"{language or ''}:{text_digest}"
    return {stage: _hash([mark, listed]) if stage in LISTED else mark for stage, mark in stages.items()}


def _code(stage: str, code_version: int) -> int:
    """The code version that last changed a stage, as of a code version."""
    named = {version for versions in _CODE.values() for version in versions}
    later = range(EVIDENCE_VERSION + 1, code_version + 1)
    own = (version for version in later if version in _CODE.get(stage, ()) or version not in named)
    return max(own, default=min(code_version, EVIDENCE_VERSION))


def _flat(names: Mapping[str, Iterable[str]]) -> set[str]:
    return {name for some in names.values() for name in some}


def _without(values: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in set(names)}


def _hash(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]
