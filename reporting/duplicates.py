"""Duplicates: speech that is probably in a release twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.code_similarity import SAME_SOUND, code_similarity
from voxbeam.reporting.texts import MAX_GROUPS, MIN_WORDS, hash_texts, segments_of
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.npy_codes import parse_codes
from voxbeam.storage.release_tables import ReleaseTables


def near_duplicates(tables: ReleaseTables) -> dict[str, Any]:
    """What is probably the same speech twice.

    By text: samples of different recordings with the same long words in any order, whose durations differ by at most a tenth;
    `alike` says how many codes they share, `same_sound` whether that is one recording rather than two readings. By sound: samples
    with the same codes, which is the same audio to the last frame.
    """
    hash_texts(tables)
    by_text = _groups(
        tables,
        "word_hash",
        f"long_words >= {MIN_WORDS}",
        "min(recording_hash) <> max(recording_hash) AND max(ms) <= 1.1 * min(ms)",
    )
    by_sound = _groups(tables, "codes_hash", "true", "count(*) > 1")
    codes = _codes(tables, [row[name] for row in by_text for name in ("first_key", "last_key")])
    for row in by_text:
        alike = code_similarity(codes[row["first_key"]], codes[row["last_key"]])
        row |= {"alike": alike, "same_sound": alike >= SAME_SOUND}
    return {"text": by_text, "sound": by_sound}


def _codes(tables: ReleaseTables, keys: list[str]) -> dict[str, NDArray[np.int16]]:
    """Codes [8, T] of samples, by ranged reads. Raises StorageError for bytes that are no codes."""
    query = "SELECT key, shard, codes_offset, codes_bytes FROM samples WHERE key IN (SELECT unnest($keys :: VARCHAR[]))"
    found: dict[str, NDArray[np.int16]] = {}
    for row in tables.rows(query, {"keys": keys}) if keys else ():
        try:
            found[row["key"]] = parse_codes(tables.store.get_range(row["shard"], row["codes_offset"], row["codes_bytes"]))
        except ValueError as error:
            where = tables.store.uri(row["shard"])
            raise StorageError(
                f"codes of {row['key']} in {where} are damaged", remedy="`voxbeam verify` lists all damage"
            ) from error
    return found


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
