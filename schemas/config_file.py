"""A file of configuration, by path or bucket address: its sections, and what is wrong with their keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from pydantic import BaseModel, ValidationError

from voxbeam.schemas.bounded_yaml import parse_yaml, read_yaml_file, shorten
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.nearest import did_you_mean


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


def wrong_keys(error: ValidationError, config: type[BaseModel]) -> list[str]:
    """A line for each key of a configuration that has a wrong value, with the value, or that does not exist."""
    return [_wrong_key(wrong, config) for wrong in error.errors()]


def _wrong_key(wrong: Mapping[str, Any], config: type[BaseModel]) -> str:
    message = wrong["msg"].removeprefix("Value error, ")
    if not wrong["loc"]:
        return message
    if wrong["loc"][-1] == "[key]":
        where, message = ".".join(map(str, wrong["loc"][:-2])), "a name is a text: write it in quotes"
        return f"{where}: {message} (found {shorten(wrong['input'])})"
    where = ".".join(map(str, wrong["loc"]))
    if wrong["type"] != "extra_forbidden":
        return f"{where}: {message} (found {shorten(wrong['input'])})"
    keys = _keys(config)
    last = str(wrong["loc"][-1])
    elsewhere = [key for key in keys if key.rpartition(".")[2] == last]
    return f"{where}: there is no such key" + did_you_mean(elsewhere[0] if elsewhere else where, keys)


def _keys(config: type[BaseModel], before: str = "") -> list[str]:
    """Every key of a configuration, with its section."""
    found: list[str] = []
    for name, field in config.model_fields.items():
        found.append(before + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, f"{before}{name}.")
    return found


def read_uri(uri: str | Path) -> bytes:
    """The bytes of a local file or of an object in a bucket."""
    if isinstance(uri, Path) or "://" not in uri or uri.startswith("file://"):
        return read_yaml_file(Path(str(uri).removeprefix("file://")))
    root, _, name = uri.rpartition("/")
    return bytes(obstore.get(obstore.store.from_url(root), name).bytes())
