"""Duplicates: speech that is probably in a release twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.reporting.texts import MAX_GROUPS, MIN_WORDS, hash_texts, segments_of
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.storage.release_tables import ReleaseTables

SoundOf = Callable[[str], NDArray[np.float32]]
"""the sound [S] of a sample at 16 kHz, by its key"""


def near_duplicates(tables: ReleaseTables, sound_of: SoundOf | None) -> dict[str, Any]:
    """What is probably the same speech twice.

    By text: samples of different recordings with the same long words in any order, whose durations differ by at most a tenth;
    `alike` is the correlation of two of their sounds, `same_sound` whether that is one recording rather than two readings; both
    are null without `sound_of`, and where the sound cannot be had. By sound: samples with the same codes, which is the same
    audio to the last frame.
    """
    hash_texts(tables)
    by_text = _groups(
        tables,
        "word_hash",
        f"long_words >= {MIN_WORDS}",
        "min(recording_hash) <> max(recording_hash) AND max(ms) <= 1.1 * min(ms)",
    )
    by_sound = _groups(tables, "codes_hash", "true", "count(*) > 1")
    for row in by_text:
        row |= _compare(sound_of, row["first_key"], row["last_key"])
    return {"text": by_text, "sound": by_sound}


def _compare(sound_of: SoundOf | None, one: str, other: str) -> dict[str, Any]:
    try:
        if sound_of is not None:
            from voxbeam.models.sound_similarity import SAME_SOUND, sound_correlation  # needs more than the core

            alike = sound_correlation(sound_of(one), sound_of(other))
            return {"alike": alike, "same_sound": alike >= SAME_SOUND}
    except (ImportError, OSError, VoxbeamError):
        pass  # the page says so of its clips, with the reason
    return {"alike": None, "same_sound": None}


def _groups(tables: ReleaseTables, group: str, condition: str, having: str) -> list[dict[str, Any]]:
    rows = tables.rows(
        f"""
        SELECT count(*) AS times, sum(ms) :: BIGINT AS ms, min(key_hash) AS first_hash, max(key_hash) AS last_hash
        FROM spoken WHERE {condition} GROUP BY {group} HAVING {having} ORDER BY times DESC, ms DESC, first_hash LIMIT {MAX_GROUPS}
        """
    )
    found = segments_of(tables, [row[name] for row in rows for name in ("first_hash", "last_hash")])
    return [
        {
            **{name: row[name] for name in ("times", "ms")},
            **{name: found[row[f"{name.removesuffix('_key')}_hash"]][0] for name in ("first_key", "last_key")},
        }
        for row in rows
    ]
