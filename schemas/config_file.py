"""A file of configuration, by path or bucket address: its sections, and what is wrong with their keys."""

from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from pydantic import ValidationError

from voxbeam.schemas.bounded_yaml import parse_yaml, shorten
from voxbeam.schemas.errors import ConfigError


def read_sections(uri: str | Path) -> Any:
    """The value of a YAML file, by path or bucket address; no sections if it is empty.

    Raises ConfigError for a file that cannot be read.
    """
    try:
        return parse_yaml(read_uri(uri)) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration at {uri}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{uri} is not YAML that can be read: {error}") from error
    except (OSError, BaseError) as error:
        raise ConfigError(f"cannot read the configuration {uri}: {error}") from error


def wrong_keys(error: ValidationError) -> list[str]:
    """A line for each key that has a wrong value, with the value."""
    return [
        f"{'.'.join(map(str, e['loc']))}: {e['msg']} (found {shorten(e['input'])})"
        if e["loc"]
        else e["msg"].removeprefix("Value error, ")
        for e in error.errors()
    ]


def read_uri(uri: str | Path) -> bytes:
    """The bytes of a local file or of an object in a bucket."""
    if isinstance(uri, Path) or "://" not in uri or uri.startswith("file://"):
        return Path(str(uri).removeprefix("file://")).read_bytes()
    root, _, name = uri.rpartition("/")
    return bytes(obstore.get(obstore.store.from_url(root), name).bytes())
