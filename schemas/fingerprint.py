"""Fingerprint: a hash of everything in configuration, models and code that can change the result of a unit."""

import hashlib
import json
from typing import Any

from voxbeam.schemas.config import CorpusConfig

_NOT_FINGERPRINTED: dict[str, Any] = {
    "listing": True,
    "decode": {"timeout_s", "memory_mb"},
    "link_speakers": True,
    "identify": True,
    "pack": {"max_shard_mb", "target_shard_mb", "valid_fraction", "test_fraction"},
}


def affects_units(key: str) -> bool:
    """Whether a key of the configuration, such as `segment.max_s`, can change the result of a unit."""
    section, _, name = key.partition(".")
    excluded = _NOT_FINGERPRINTED.get(section, set())
    return excluded is not True and name not in excluded


def fingerprint(config: CorpusConfig, models: dict[str, str], code_version: int) -> str:
    """Hash of everything that can change the result of a unit: most of the configuration, the models' hashes, CODE_VERSION."""
    tree = config.model_dump(mode="json", exclude=_NOT_FINGERPRINTED)
    canonical = json.dumps({"config": tree, "models": models, "code": code_version}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
