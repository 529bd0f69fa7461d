"""The configuration as text: YAML with every key's description as a comment."""

import json
from typing import Any

from pydantic import BaseModel, TypeAdapter

from voxbeam.schemas.config import CorpusConfig

_VALUE = TypeAdapter[Any](Any)


def commented_yaml(config: CorpusConfig) -> str:
    """The configuration as YAML, each key with its description as a comment."""
    lines: list[str] = []
    for name, value in config:
        if isinstance(value, BaseModel):
            lines += ["", f"# {(type(value).__doc__ or '').strip()}", f"{name}:"]
            lines += [_yaml_line(value, key, indent="  ") for key in type(value).model_fields]
        else:
            lines += ["", _yaml_line(config, name, indent="")]
    return "\n".join(lines).lstrip() + "\n"


def _yaml_line(section: BaseModel, key: str, indent: str) -> str:
    text = json.dumps(_VALUE.dump_python(getattr(section, key), mode="json"), ensure_ascii=False)
    description = type(section).model_fields[key].description
    return f"{indent}{key}: {text}" + (f"  # {description}" if description else "")
