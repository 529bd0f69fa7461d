"""A second codec for tests: the embedded one, with the vectors of each codebook moved on by one."""

from pathlib import Path
from typing import Any

from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.storage.safetensors_io import pack, unpack


def moved_codec(folder: Path) -> Path:
    """Weights of a codec whose codes are those of the embedded one plus one, modulo 1024."""
    tensors, facts = unpack(EMBEDDED_WEIGHTS.read_bytes(), "codec")
    moved = {name: value.roll(1, 0) if name.endswith("_codebook.embed") else value for name, value in tensors.items()}
    path = folder / "moved.safetensors"
    path.write_bytes(pack({name: value.contiguous() for name, value in moved.items()}, "codec", facts))
    return path


def with_moved(folder: Path) -> dict[str, Any]:
    """Settings of a corpus whose samples have the codes of that codec too, under the name `moved`."""
    return {"codecs": {"moved": {"codec": str(moved_codec(folder))}}}
