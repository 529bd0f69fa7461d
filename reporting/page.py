"""Page: data as one HTML file with its style and script inside. It asks no network, and a browser lets it ask none."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

_FILES = Path(__file__).parent / "page_files"
_SCRIPTS = ("dom.js", "segments.js", "flow.js", "limits.js", "contents.js")


def render(data: dict[str, Any]) -> str:
    """The page. Text of the data is shown as text: the script never makes HTML of it."""
    style, script = _read("style.css"), "\n".join(map(_read, _SCRIPTS))
    content = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only "<" could end it or begin a comment.
    content = content.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    parts = {
        "POLICY": f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; media-src data: blob:",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": content,
    }
    pieces = _read("page.html").split("@@")
    page = "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))
    return page.encode(errors="replace").decode()  # half of a surrogate pair is no text


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style that may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _finite(value: Any) -> Any:
    """The same without NaN and infinity, which are no JSON: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
