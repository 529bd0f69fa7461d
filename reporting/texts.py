"""Texts: what looks invented by the recognizer, and which texts occur more than once."""

from __future__ import annotations

from typing import Any

from voxbeam.storage.release_tables import ReleaseTables

MAX_GROUPS = 100
"""groups of repeated texts that are listed"""
MIN_WORDS = 4
"""shorter texts are repeated by honest speakers too"""
_PLAIN = "regexp_replace(lower(text), '[^\\p{L}\\p{N} ]', '', 'g')"
_SUSPICIONS = {
    "beside_silence": ("no_speech_prob > 0.3", "Whisper's probability of no speech is above 0.3"),
    "decoded_again": (
        "used_fallback AND temperature > 0",
        "the text was found only by sampling, after a suspect first hypothesis",
    ),
    "uncertain": ("avg_logprob < -0.7", "the mean log-probability of the tokens is below −0.7"),
    "repetitive": ("compression_ratio > 2", "the text repeats itself: it compresses by more than 2"),
    "sparse": ("chars_per_second < 6", "fewer than 6 letters per second: words may be missing"),
    "dense": ("chars_per_second > 21", "more than 21 letters per second: words may be invented"),
    "differs": ("second_wer > 0.25", "a second recognizer hears other words in more than a quarter of the text"),
    "not_as_listed": ("reference_wer > 0.25", "more than a quarter of the words differ from the listed text"),
}


def suspected_hallucinations(tables: ReleaseTables) -> list[dict[str, Any]]:
    """Accepted samples whose text is doubtful though no rule rejects it, by cause, with the worst examples."""
    counts = tables.row(
        "SELECT "
        + ", ".join(
            f"count(*) FILTER ({sql}) AS {name}, coalesce(sum(duration_ms) FILTER ({sql}), 0) :: BIGINT AS {name}_ms"
            for name, (sql, _) in _SUSPICIONS.items()
        )
        + " FROM samples"
    )
    return [
        {
            "name": name,
            "meaning": meaning,
            "samples": counts[name],
            "ms": counts[f"{name}_ms"],
            "examples": _examples(tables, sql) if counts[name] else [],
        }
        for name, (sql, meaning) in _SUSPICIONS.items()
    ]


def repeated_texts(tables: ReleaseTables) -> dict[str, Any]:
    """Texts of accepted samples that occur more than once, but for case and punctuation: totals, and the most frequent."""
    hash_texts(tables)
    groups = f"""
        WITH groups AS (
            SELECT text_hash, count(*) AS times, count(DISTINCT recording_hash) AS recordings, sum(ms) :: BIGINT AS ms,
                min(key_hash) AS first_hash
            FROM spoken WHERE words >= {MIN_WORDS} GROUP BY text_hash HAVING count(*) > 1
        )
    """
    totals = tables.row(
        f"{groups} SELECT count(*) AS texts, coalesce(sum(times), 0) :: BIGINT AS samples, coalesce(sum(ms), 0) :: BIGINT AS ms,"
        " count(*) FILTER (recordings > 1) AS across FROM groups"
    )
    rows = tables.rows(f"{groups} SELECT * FROM groups ORDER BY times DESC, ms DESC, text_hash LIMIT {MAX_GROUPS}")
    found = segments_of(tables, [row["first_hash"] for row in rows])
    shown = [
        {"text": text, "first_key": key, **{name: row[name] for name in ("times", "recordings", "ms")}}
        for row in rows
        for key, text in [found[row["first_hash"]]]
    ]
    return {**totals, "rows": shown}


def hash_texts(tables: ReleaseTables) -> None:
    """Makes the table `spoken`, unless it is there: 64 bytes of each sample, so that texts are divided into words only once."""
    tables.arrow(
        f"""
        CREATE TEMP TABLE IF NOT EXISTS spoken AS
        SELECT hash(key) AS key_hash, hash(recording) AS recording_hash, hash(plain) AS text_hash, duration_ms AS ms,
            hash(codes_crc32, codes_bytes) AS codes_hash, len(all_words) AS words, len(long) AS long_words,
            hash(list_sort(long)) AS word_hash
        FROM (
            SELECT *, list_distinct(list_filter(all_words, lambda word: length(word) > 3)) AS long
            FROM (
                SELECT *, string_split(plain, ' ') AS all_words
                FROM (SELECT key, recording, duration_ms, codes_crc32, codes_bytes, {_PLAIN} AS plain FROM samples)
            )
        )
        """
    )


def segments_of(tables: ReleaseTables, hashes: list[int]) -> dict[int, tuple[str, str]]:
    """Key and text of samples, by the hash of their keys."""
    if not hashes:
        return {}
    query = "SELECT hash(key) AS key_hash, key, text FROM samples WHERE hash(key) IN (SELECT unnest($hashes :: UBIGINT[]))"
    return {row["key_hash"]: (row["key"], row["text"]) for row in tables.rows(query, {"hashes": hashes})}


def _examples(tables: ReleaseTables, sql: str) -> list[dict[str, Any]]:
    return tables.rows(f"SELECT key, text, duration_ms FROM samples WHERE {sql} ORDER BY hash(key), key LIMIT 5")
