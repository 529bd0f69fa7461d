"""Texts: what looks invented by the recognizer, and what occurs more than once."""

from __future__ import annotations

from typing import Any

from voxbeam.storage.release_tables import ReleaseTables

MAX_GROUPS = 100
"""groups of repeated texts that are listed"""
_MIN_WORDS = 4
"""shorter texts are repeated by honest speakers too"""
_PLAIN = "regexp_replace(lower(text), '[^\\p{L}\\p{N} ]', '', 'g')"
_SUSPICIONS = {
    "beside_silence": ("no_speech_prob > 0.3", "Whisper's probability of no speech is above 0.3"),
    "decoded_again": ("used_fallback AND temperature > 0", "the text was found only by sampling, after a suspect first hypothesis"),
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
    tables.arrow(
        f"""
        CREATE OR REPLACE TEMP TABLE repeated AS
        SELECT text_hash, count(*) AS times, count(DISTINCT recording) AS recordings, sum(duration_ms) :: BIGINT AS ms,
            min(duration_ms) AS shortest_ms, max(duration_ms) AS longest_ms
        FROM (SELECT hash({_PLAIN}) AS text_hash, hash(recording) AS recording, duration_ms FROM samples
            WHERE length(text) - length(replace(text, ' ', '')) >= {_MIN_WORDS - 1})
        GROUP BY text_hash HAVING count(*) > 1
        """
    )
    totals = tables.row(
        "SELECT count(*) AS texts, coalesce(sum(times), 0) :: BIGINT AS samples, coalesce(sum(ms), 0) :: BIGINT AS ms,"
        " count(*) FILTER (recordings > 1) AS across FROM repeated"
    )
    rows = tables.rows(
        f"""
        WITH top AS (SELECT * FROM repeated ORDER BY times DESC, text_hash LIMIT {MAX_GROUPS}),
        found AS (SELECT hash({_PLAIN}) AS text_hash, min(text) AS text, min(key) AS first_key, max(key) AS last_key FROM samples
            WHERE hash({_PLAIN}) IN (SELECT text_hash FROM top) GROUP BY 1)
        SELECT text, times, recordings, ms, first_key, last_key FROM top JOIN found USING (text_hash)
        ORDER BY times DESC, ms DESC, text
        """
    )
    return {**totals, "rows": rows}


def near_duplicates(tables: ReleaseTables) -> dict[str, Any]:
    """Pairs that are probably the same speech twice.

    By text: samples of different recordings with the same long words in any order, whose durations differ by at most a tenth.
    By sound: samples with the same codes, which is the same audio to the last frame.
    """
    words = f"list_sort(list_distinct(list_filter(string_split({_PLAIN}, ' '), lambda word: length(word) > 3)))"
    by_text = tables.rows(
        f"""
        WITH spoken AS (
            SELECT hash(words) AS word_hash, recording, key, duration_ms
            FROM (SELECT {words} AS words, recording, key, duration_ms FROM samples) WHERE len(words) >= {_MIN_WORDS}
        ),
        groups AS (
            SELECT word_hash FROM spoken GROUP BY word_hash
            HAVING min(recording) <> max(recording) AND max(duration_ms) <= 1.1 * min(duration_ms)
        )
        SELECT count(*) AS times, sum(duration_ms) :: BIGINT AS ms, min(key) AS first_key, max(key) AS last_key
        FROM spoken SEMI JOIN groups USING (word_hash) GROUP BY word_hash ORDER BY times DESC, first_key LIMIT {MAX_GROUPS}
        """
    )
    by_sound = tables.rows(
        f"""
        WITH twice AS (
            SELECT codes_crc32, codes_bytes FROM samples GROUP BY ALL HAVING count(*) > 1
        )
        SELECT count(*) AS times, sum(duration_ms) :: BIGINT AS ms, min(key) AS first_key, max(key) AS last_key
        FROM samples SEMI JOIN twice USING (codes_crc32, codes_bytes) GROUP BY codes_crc32, codes_bytes
        ORDER BY times DESC, first_key LIMIT {MAX_GROUPS}
        """
    )
    return {"text": by_text, "sound": by_sound}


def _examples(tables: ReleaseTables, sql: str) -> list[dict[str, Any]]:
    return tables.rows(f"SELECT key, text, duration_ms FROM samples WHERE {sql} ORDER BY hash(key), key LIMIT 5")
