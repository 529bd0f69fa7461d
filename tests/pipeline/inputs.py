"""Inputs of a build: empty files in a folder, and what is listed of them."""

from pathlib import Path
from typing import Any

from voxbeam.pipeline.steps.discover import discover
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.recording import Recording


def listed(folder: Path | str, **config: Any) -> list[Recording]:
    return discover(str(folder), ListingConfig(**config)).recordings


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
