"""A script: a file with one line per sound, as JSON lines or as plain text.

A line of `.jsonl` is an object with `text`, and maybe `voice` (path of a prompt, seen from the script's folder), `prompt_text`,
`out` (name of the sound below the output folder) and `seed`. A line of `.txt` is a text. Empty lines are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import SOUND_ENDINGS
from voxbeam.storage.listing_text import unique_pairs
from voxbeam.synthesis.text import Sentence, split_sentences

MAX_SEED = 2**32 - 1
_KEYS: dict[str, type] = {"text": str, "voice": str, "prompt_text": str, "out": str, "seed": int}
SHOWN = 10
"""bad lines that an error names"""


@dataclass(frozen=True)
class Voice:
    """A prompt as a line names it."""

    path: Path
    text: str | None
    """its transcript, if known"""


@dataclass(frozen=True)
class Line:
    """One sound to make."""

    where: str
    """file and line"""
    number: int
    text: str
    sentences: tuple[Sentence, ...]
    out: str
    voice: Voice
    seed: int


def read_script(path: Path, *, voice: Voice | None = None, seed: int = 0) -> list[Line]:
    """The lines of a script. `voice` and `seed` are those of lines that name none.

    Raises SynthesisError that names every line that cannot be spoken: no object, no text, words that nobody can say, an unknown
    key, a name outside of the output folder or one that two lines have.
    """
    if path.suffix.lower() not in (".jsonl", ".txt"):
        raise SynthesisError(f"the script {path} has neither of the endings .jsonl and .txt", remedy="name it as what it is")
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SynthesisError(f"{path}:{number}: that is not UTF-8", remedy="save the script as UTF-8") from error
    except OSError as error:
        raise SynthesisError(f"cannot read the script {path}: {error.strerror}", remedy="check the path") from error
    fields = _json_fields if path.suffix.lower() == ".jsonl" else _text_fields
    lines: list[Line] = []
    names: dict[str, str] = {}
    wrong: list[str] = []
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        where = f"{path}:{number}"
        try:
            line = _line(where, number, fields(row), path, voice, seed)
            if first := names.get(line.out.casefold()):
                raise ValueError(f"the out {line.out!r} is that of {first} too")
        except ValueError as error:
            wrong.append(f"{where}: {error}")
            continue
        names[line.out.casefold()] = where
        lines.append(line)
    raise_named(wrong, SynthesisError, "correct these lines; nothing was spoken")
    if not lines:
        raise SynthesisError(f"the script {path} has no lines", remedy="write one line per sound")
    return lines


def raise_named(wrong: list[str], kind: Callable[..., Exception], remedy: str) -> None:
    """Raises an error that names what is wrong, if anything is."""
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise kind("\n".join([*wrong[:SHOWN], *more]), remedy=remedy)


def _text_fields(row: str) -> dict[str, Any]:
    return {"text": row.strip()}


def _json_fields(row: str) -> dict[str, Any]:
    try:
        fields = json.loads(row, object_pairs_hook=unique_pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"that is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError('a line is a JSON object, such as {"text": "Hello."}')
    if unknown := sorted(fields.keys() - _KEYS):
        raise ValueError(f"unknown key {', '.join(map(repr, unknown))}; the keys are {', '.join(_KEYS)}")
    for key, value in fields.items():
        if type(value) is not _KEYS[key] or value == "":
            kind = "a whole number" if _KEYS[key] is int else "a text that is not empty"
            raise ValueError(f"{key!r} is {kind}, not {value!r}")
    return fields


def _line(where: str, number: int, fields: dict[str, Any], script: Path, voice: Voice | None, seed: int) -> Line:
    """Raises ValueError."""
    if "text" not in fields:
        raise ValueError("there is no 'text'")
    if "voice" in fields:
        named = Voice(script.parent / fields["voice"], fields.get("prompt_text"))
    elif voice is None:
        raise ValueError("it names no 'voice', and there is no --prompt")
    else:
        named = Voice(voice.path, fields.get("prompt_text", voice.text))
    seed = fields.get("seed", seed)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"'seed' is from 0 to {MAX_SEED}, not {seed}")
    out = str(PurePosixPath(fields.get("out", f"{script.stem}-{number:04d}.wav")))
    if PurePosixPath(out).is_absolute() or ".." in PurePosixPath(out).parts or "\\" in out or not out.isprintable() or "#" in out:
        raise ValueError(
            f"'out' is a name below the folder of --out, without .., #, backslashes or control characters, not {out!r}"
        )
    if PurePosixPath(out).suffix.lower() not in SOUND_ENDINGS:
        raise ValueError(f"'out' has none of the endings {', '.join(SOUND_ENDINGS)}: {out!r}")
    text = fields["text"]
    return Line(where, number, text, tuple(split_sentences(text)), out, named, seed)
