"""About: what only people know of a dataset, for its Croissant description, as YAML."""

from __future__ import annotations

from datetime import date
from typing import Any

from voxbeam.schemas.bounded_yaml import parse_yaml, read_yaml_file
from voxbeam.schemas.errors import ConfigError
from voxbeam.storage.address import resolve_address
from voxbeam.storage.local_copies import open_local

KNOWN = frozenset({
    "name", "description", "url", "creator", "publisher", "datePublished", "dateCreated", "dateModified", "citeAs", "version",
    "license", "keywords", "sameAs", "inLanguage", "isLiveDataset",
})  # fmt: skip
"""properties of a dataset that a file may state, besides those that begin with `rai:`"""


def read_about(uri: str) -> dict[str, Any]:
    """The properties in a YAML file, by path or bucket address. Raises ConfigError for another file, naming a wrong key."""
    try:
        with open_local(resolve_address(uri)) as path:
            tree = parse_yaml(read_yaml_file(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{uri} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{uri} is no list of properties", remedy="a line is such as: url: https://example.org/data")
    if wrong := [key for key in tree if key not in KNOWN and not str(key).startswith("rai:")]:
        raise ConfigError(f"{uri}: {wrong[0]!r} cannot be stated", remedy=f"use one of {', '.join(sorted(KNOWN))}, or rai:…")
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in tree.items()}
