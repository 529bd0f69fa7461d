"""The leaves of a tree of settings, as a release or a checkpoint states it."""

from typing import Any


def leaves_by_name(tree: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by their names, joined with dots; a list is a leaf."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        name: leaf
        for key, value in tree.items()
        for name, leaf in leaves_by_name(value, f"{prefix}.{key}" if prefix else key).items()
    }
