"""Clips: segments on both sides of each limit, with their sound, as small MP3s within a budget."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.corpus import Corpus
from voxbeam.reporting.rules import Rule
from voxbeam.schemas.errors import ModelError, VoxbeamError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.manifest import EXCLUDED
from voxbeam.storage.find_segments import Found
from voxbeam.storage.release_tables import ReleaseTables

CLIP_S = 7.0
"""a longer segment is heard up to here"""
MAX_SOUND_BYTES = 9_000_000
"""of all clips, in base64: the page stays below 15 MB"""
_EXCLUDED = f"list_contains(reasons, '{EXCLUDED}')"
"""what was left out on purpose is not played"""
_MAX_FAILED_SOURCES = 20
"""after so many recordings that cannot be cut, no other is tried: their folder is gone"""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A segment beside a limit."""

    key: str
    setting: str
    """of the rule whose limit it is beside; empty for one that was chosen by its reason alone"""
    reason: str
    value: float | None
    accepted: bool


def choose_clips(tables: ReleaseTables, rules: list[Rule], reasons: list[str], per_side: int) -> list[Clip]:
    """The segments nearest to each limit on both sides, and some of each reason that has no limit.

    Of the rejected ones, first those that no other rule rejects: another limit would bring these back.
    """
    if not per_side:
        return []
    limited = [rule for rule in rules if rule.limit is not None]
    clips = [*_beside(tables, limited, per_side, accepted=False), *_beside(tables, limited, per_side, accepted=True)]
    with_limit = {rule.reason for rule in limited}
    for reason in reasons:
        if reason not in with_limit:
            rows = tables.rows(
                f"SELECT key FROM rejected WHERE list_contains(reasons, $reason) AND NOT {_EXCLUDED} "
                f"ORDER BY len(reasons), hash(key), key LIMIT {per_side}",
                {"reason": reason},
            )
            clips += [Clip(key=row["key"], setting="", reason=reason, value=None, accepted=False) for row in rows]
    return clips


def describe(segments: list[Found]) -> dict[str, dict[str, Any]]:
    """Text and reasons of segments, by key."""
    return {row["key"]: {name: row[name] for name in ("text", "accepted", "reasons")} for row in segments}


def make_sounds(
    corpus: Corpus, segments: list[Found], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[dict[str, str], list[str]]:
    """MP3s of segments, as base64 by key, and a sentence for each kind of segment that has none.

    Accepted segments are decoded from their codes, rejected ones cut from their recording.
    """
    sounds: dict[str, str] = {}
    without: dict[str, int] = {}
    size, failed_sources = 0, 0
    for number, segment in enumerate(segments):
        on_progress(number, len(segments))
        if size > MAX_SOUND_BYTES:
            what = "the page would become larger than 15 MB: ask for fewer clips"
        elif not segment["accepted"] and failed_sources >= _MAX_FAILED_SOURCES:
            what = f"{_MAX_FAILED_SOURCES} recordings before could not be read"
        else:
            try:
                sound = sounds[segment["key"]] = encode(corpus.sound(segment, seconds=CLIP_S))
                size += len(sound)
                continue
            except ModelError as error:
                what = str(error)
            except ImportError as error:
                what = f"{error.name} is not installed: pip install 'voxbeam[train]'"
            except FileNotFoundError:
                what = "the shard is not there: run `voxbeam verify`"
            except VoxbeamError as error:
                failed_sources += not segment["accepted"]
                what = str(error.remedy or error.message)
        without[what] = without.get(what, 0) + 1
    return sounds, [f"{count} of {len(segments)} clips have no sound: {what}" for what, count in without.items()]


def encode(wave_S: NDArray[np.float32]) -> str:
    """Audio at 24 kHz as an MP3 in base64: 5 kB a second, and every browser plays it."""
    import soundfile as sf

    sink = io.BytesIO()
    sf.write(sink, wave_S, CODEC_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return base64.b64encode(sink.getvalue()).decode()


def _beside(tables: ReleaseTables, rules: list[Rule], per_side: int, *, accepted: bool) -> list[Clip]:
    """The accepted or the rejected segments nearest to each limit, by one reading of the table."""
    parts = []
    for number, rule in enumerate(rules):
        limit = float(rule.limit or 0.0)
        condition = f"{rule.sql} IS NOT NULL AND NOT {rule.fails(limit)}"
        # Equally near ones, as where a score is mostly 0: in a mixed order that stays the same.
        far = f"abs({rule.sql} - {limit!r} :: DOUBLE) + 1e-9 * (hash(key) % 1000003) / 1000003"
        if not accepted:
            condition = f"list_contains(reasons, '{rule.reason}') AND NOT {_EXCLUDED} AND {rule.fails(limit)}"
            far = f"1e9 * len(reasons) + {far}"
        parts.append(f"arg_min({{'key': key, 'v': {rule.sql}}}, {far}, {per_side}) FILTER ({condition}) AS r{number}")
    if not parts:
        return []
    table = "(SELECT *, [] :: VARCHAR[] AS reasons FROM samples)" if accepted else "rejected"
    found = tables.row(f"SELECT {', '.join(parts)} FROM {table}")
    return [
        Clip(key=one["key"], setting=rule.setting, reason=rule.reason, value=one["v"], accepted=accepted)
        for number, rule in enumerate(rules)
        for one in found[f"r{number}"] or ()
    ]
