"""JSON from anywhere: bounded in size and depth."""

import json
from typing import Any

from voxbeam.storage.listing_text import unique_pairs

MAX_JSON_BYTES = 64 << 20


def parse_json(content: bytes, limit: int = MAX_JSON_BYTES, *, unique: bool = False) -> Any:
    """The value of a JSON text. Raises ValueError for more than `limit` bytes, other text, or deep nesting.

    `unique` refuses a key that is there twice: of the two, the reader would take the last in silence.
    """
    if len(content) > limit:
        raise ValueError(f"it has {len(content)} bytes, more than {limit}")
    try:
        return json.loads(content, object_pairs_hook=unique_pairs if unique else None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_object(content: bytes, limit: int = MAX_JSON_BYTES, *, unique: bool = False) -> dict[str, Any]:
    """The same of a JSON object."""
    tree = parse_json(content, limit, unique=unique)
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    return tree
