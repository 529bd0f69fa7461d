"""Tensors with a few facts, as the bytes of a safetensors file. No pickle is ever read or written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor


def pack(tensors: dict[str, Tensor], name: str, facts: Mapping[str, Any]) -> bytes:
    """A file of tensors, with facts under one name: safetensors writes several names in an order that changes."""
    return save(tensors, metadata={name: json.dumps(facts, sort_keys=True)})


def unpack(content: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts that `pack` packed. Raises SafetensorError, ValueError or KeyError for other bytes."""
    tensors = load(content)
    return tensors, read_header(content[8 : 8 + int.from_bytes(content[:8], "little")], name)


def read_header(header: bytes, name: str) -> dict[str, Any]:
    """The facts in a file's header, which follows its length. Raises ValueError or KeyError for other bytes."""
    facts: dict[str, Any] = json.loads(json.loads(header)["__metadata__"][name])
    return facts


def read_facts(path: Path, name: str) -> dict[str, Any]:
    """The facts of a file, without its tensors. Raises SafetensorError, OSError, ValueError or KeyError for another file."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {})[name])
        return facts
