"""Fingerprint: a hash of everything in configuration, models and code that can change the result of a unit. Policy cannot."""

import hashlib
import json
from typing import Any

from voxbeam.schemas.config import CorpusConfig

EVIDENCE_VERSION = 7
"""code version since which a unit holds every segment that was cut, whatever the policy says of it"""

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

_AT_PACKING = ("identify",)
"""models that finished units are packed with"""


def affects_units(key: str) -> bool:
    """Whether a key of the configuration, such as `segment.max_s`, can change the result of a unit."""
    section, _, name = key.partition(".")
    excluded = _NOT_FINGERPRINTED.get(section, set())
    return excluded is not True and name not in excluded


def fingerprint(config: CorpusConfig, models: dict[str, str], code_version: int) -> str:
    """Hash of everything that can change the result of a unit: most of the configuration, the models' hashes, CODE_VERSION."""
    tree = config.model_dump(mode="json", exclude=_NOT_FINGERPRINTED)
    makes_units = {name: identity for name, identity in models.items() if name not in _AT_PACKING}
    canonical = json.dumps({"config": tree, "models": makes_units, "code": code_version}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
