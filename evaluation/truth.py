"""Truth: what is really said in recordings, by whom and when, from the formats in which references come.

| suffix | what |
|---|---|
| `.json` | {name: [[speaker, start s, end s, text or nothing], …]} |
| `.rttm` | NIST's SPEAKER lines: turns |
| `.stm` | NIST's segments: turns with their text |
| `.ctm` | NIST's words with their times |
| `.TextGrid` | Praat, one file a recording: a tier `words` (as of a forced aligner) has words, any other tier a speaker's turns |
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxbeam.schemas.errors import TruthError


@dataclass(frozen=True, kw_only=True)
class TrueTurn:
    """Someone talking, and what is said if that is known."""

    speaker: str
    start_ms: int
    end_ms: int
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrueWord:
    """A word and when it is said."""

    text: str
    start_ms: int
    end_ms: int


@dataclass
class Truth:
    """The truth of one recording. Turns and words are in order of time."""

    turns: list[TrueTurn] = field(default_factory=list)
    words: list[TrueWord] = field(default_factory=list)

    @property
    def has_text(self) -> bool:
        return bool(self.words) or any(turn.text is not None for turn in self.turns)


Found = Iterator[tuple[str, TrueTurn | TrueWord]]


def read_truth(paths: Sequence[Path]) -> dict[str, Truth]:
    """The truth by name of recording, of one file or several that add to each other (turns of one, words of another).

    Raises TruthError for a file that is missing, of another format, damaged, or without any row.
    """
    truth = defaultdict[str, Truth](Truth)
    for path in paths:
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise TruthError(f"{path} is no file of references", remedy=f"give one of {', '.join(sorted(_READERS))}")
        try:
            for name, row in reader(path):
                if not 0 <= row.start_ms < row.end_ms:
                    raise ValueError(f"{name}: {row.start_ms / 1000} s to {row.end_ms / 1000} s is no stretch of time")
                here = truth[name]
                (here.turns if isinstance(row, TrueTurn) else here.words).append(row)  # type: ignore[arg-type]
        except OSError as error:
            raise TruthError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise TruthError(
                f"{path} is damaged: {error}", remedy="see `voxbeam evaluate corpus --help` for the formats"
            ) from error
    if not truth:
        raise TruthError(f"{', '.join(map(str, paths))}: no turn and no word", remedy="give references that name recordings")
    for one in truth.values():
        one.turns.sort(key=lambda turn: (turn.start_ms, turn.end_ms))
        one.words.sort(key=lambda word: (word.start_ms, word.end_ms))
    return dict(truth)


def _ms(seconds: float | str) -> int:
    return round(1000 * float(seconds))


def _read_json(path: Path) -> Found:
    for name, rows in json.loads(path.read_text(encoding="utf-8")).items():
        for speaker, start, end, *text in rows:
            said = text[0] if text else None
            if said is not None and not isinstance(said, str):
                raise ValueError(f"{name}: the text {said!r} is no text")
            yield name, TrueTurn(speaker=str(speaker), start_ms=_ms(start), end_ms=_ms(end), text=said)


def _lines(path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith(";;"):
            fields = line.split()
            if len(fields) < 5:
                raise ValueError(f"line {number} has {len(fields)} fields")
            yield fields


def _read_rttm(path: Path) -> Found:
    for fields in _lines(path):
        if fields[0] == "SPEAKER" and float(fields[4]) > 0:
            start, length = float(fields[3]), float(fields[4])
            yield fields[1], TrueTurn(speaker=fields[7], start_ms=_ms(start), end_ms=_ms(start + length))


def _read_ctm(path: Path) -> Found:
    for fields in _lines(path):
        start, length = float(fields[2]), float(fields[3])
        if length > 0:
            yield fields[0], TrueWord(text=fields[4], start_ms=_ms(start), end_ms=_ms(start + length))


def _read_stm(path: Path) -> Found:
    for fields in _lines(path):
        name, _, speaker, start, end, *words = fields
        if words and words[0].startswith("<") and words[0].endswith(">"):
            words = words[1:]  # labels such as <o,f0,female>
        text = " ".join(words)
        if text.lower() == "ignore_time_segment_in_scoring":
            continue
        yield name, TrueTurn(speaker=speaker, start_ms=_ms(start), end_ms=_ms(end), text=text)


_TIER = re.compile(r'class = "IntervalTier"\s+name = "((?:[^"]|"")*)"(.*?)(?=class = "|\Z)', re.DOTALL)
_INTERVAL = re.compile(r'xmin = ([\d.eE+-]+)\s+xmax = ([\d.eE+-]+)\s+text = "((?:[^"]|"")*)"')


def _read_textgrid(path: Path) -> Found:
    content = path.read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    tiers = list(_TIER.finditer(text))
    if not tiers:
        raise ValueError("it has no interval tier in Praat's long format")
    for tier in tiers:
        name = tier[1].replace('""', '"')
        if name.lower() == "phones" or name.lower().endswith("- phones"):
            continue
        words = name.lower() == "words" or name.lower().endswith("- words")
        for start, end, said in _INTERVAL.findall(tier[2]):
            said = said.replace('""', '"').strip()
            if said and words:
                yield path.stem, TrueWord(text=said, start_ms=_ms(start), end_ms=_ms(end))
            elif said:
                yield path.stem, TrueTurn(speaker=name, start_ms=_ms(start), end_ms=_ms(end), text=said)


_READERS: dict[str, Callable[[Path], Found]] = {
    ".json": _read_json,
    ".rttm": _read_rttm,
    ".stm": _read_stm,
    ".ctm": _read_ctm,
    ".textgrid": _read_textgrid,
}


def name_of(names: Iterable[str], recording: str, uri: str) -> str | None:
    """Which name of a truth a recording has: its identifier, the end of it behind a `-`, or its file's name; else None."""
    stem = Path(uri.rpartition("/")[2]).stem
    known = set(names)
    for name in (recording, stem):
        if name in known:
            return name
    return next((name for name in sorted(known) if recording.endswith(f"-{name}")), None)
