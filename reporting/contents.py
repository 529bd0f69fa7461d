"""Contents: where the hours of a release went, and what it holds: splits, speakers, identities, languages, durations, phones."""

from __future__ import annotations

import json
from typing import Any

from voxbeam.schemas.identity import doubt_of_estimates
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.release import Release
from voxbeam.storage.release_tables import ReleaseTables

MAX_NAMES = 200
"""speakers and identities that are listed one by one, those with the most speech"""
_SAMPLED_PHONES = 500_000
"""from a larger corpus, phones are counted in about this many samples"""
_LONGEST_BAR_S = 30


def flow(tables: ReleaseTables) -> dict[str, Any]:
    """Milliseconds of the input and where they went: accepted + rejected + not speech + failed is what could be used."""
    totals = tables.row(
        """
        SELECT count(*) AS recordings, count(*) FILTER (status = 'partial') AS partial,
            count(*) FILTER (status = 'quarantined') AS quarantined,
            coalesce(sum(duration_ms) FILTER (status = 'quarantined'), 0) :: BIGINT AS quarantined_ms,
            count(*) FILTER (status = 'excluded') AS excluded,
            coalesce(sum(duration_ms) FILTER (status = 'excluded'), 0) :: BIGINT AS excluded_ms,
            coalesce(sum(accepted_ms), 0) :: BIGINT AS accepted_ms, coalesce(sum(rejected_ms), 0) :: BIGINT AS rejected_ms,
            coalesce(sum(non_speech_ms), 0) :: BIGINT AS non_speech_ms, coalesce(sum(failed_ms), 0) :: BIGINT AS failed_ms,
            coalesce(sum(samples), 0) :: BIGINT AS samples, coalesce(sum(rejections), 0) :: BIGINT AS rejections
        FROM recordings
        """
    )
    return {**totals, "reasons": reasons(tables)}


def reasons(tables: ReleaseTables) -> list[dict[str, Any]]:
    """Each reason: segments and time that have it, that have no other, and the time that it gets if each segment counts once.

    A segment with several reasons counts under the first of them, in the order of schemas/reasons.py: these times add up.
    """
    rows = tables.rows(
        """
        SELECT reason, count(*) AS segments, sum(duration_ms) :: BIGINT AS ms,
            coalesce(sum(duration_ms) FILTER (len(reasons) = 1), 0) :: BIGINT AS alone_ms,
            coalesce(sum(duration_ms) FILTER (reasons[1] = reason), 0) :: BIGINT AS first_ms
        FROM (SELECT duration_ms, reasons, unnest(reasons) AS reason FROM rejected) GROUP BY reason ORDER BY ms DESC, reason
        """
    )
    return [{**row, "remedy": REASONS.get(row["reason"], "")} for row in rows]


def codecs(release: Release, heard_by: str | None) -> list[dict[str, Any]]:
    """Every codec of a release that has several, the first without a name; `heard` is true of the one that decodes samples."""
    rows: list[dict[str, Any]] = []
    for name in (None, *release.codecs) if release.codecs else ():
        weights, sha256 = release.codec(name)
        rows.append({"codec": name, "weights": weights, "sha256": sha256, "heard": name == heard_by})
    return rows


def splits(tables: ReleaseTables) -> list[dict[str, Any]]:
    return tables.rows(
        """
        SELECT split, count(*) AS samples, sum(duration_ms) :: BIGINT AS ms, count(DISTINCT identity) AS identities,
            count(DISTINCT speaker) AS speakers, count(DISTINCT recording) AS recordings
        FROM samples GROUP BY split ORDER BY ms DESC
        """
    )


def speakers(tables: ReleaseTables) -> dict[str, Any]:
    """The number of speakers, and those with the most accepted speech."""
    total = tables.row("SELECT count(DISTINCT speaker) AS speakers FROM samples")["speakers"]
    rows = tables.rows(
        f"""
        SELECT speaker, coalesce(sum(duration_ms) FILTER (accepted), 0) :: BIGINT AS accepted_ms,
            coalesce(sum(duration_ms) FILTER (NOT accepted), 0) :: BIGINT AS rejected_ms, count(*) AS segments,
            avg(dnsmos_ovrl) FILTER (accepted) AS dnsmos_ovrl, avg(snr_db) FILTER (accepted) AS snr_db
        FROM segments WHERE speaker IS NOT NULL GROUP BY speaker ORDER BY accepted_ms DESC, speaker LIMIT {MAX_NAMES}
        """
    )
    return {"total": total, "rows": rows}


def identities(tables: ReleaseTables) -> dict[str, Any]:
    """The number of identities, how many have doubtful labels, and those with the most speech."""
    totals = tables.row(
        """
        SELECT count(*) AS total, count(*) FILTER (name IS NOT NULL) AS named,
            count(*) FILTER (label_conflict) AS conflicts, count(*) FILTER (duplicate_probability > 0.5) AS duplicates,
            count(*) FILTER (len(voices) > 1) AS linked
        FROM identities
        """
    )
    rows = tables.rows(
        f"""
        SELECT identity, name, split, speech_ms, recordings, len(voices) AS voices, confidence, duplicate_probability, nearest,
            label_conflict
        FROM identities ORDER BY speech_ms DESC, identity LIMIT {MAX_NAMES}
        """
    )
    return {**totals, "rows": rows, "doubt": doubt_of_estimates(tables.release.labels)}


def languages(tables: ReleaseTables) -> list[dict[str, Any]]:
    return tables.rows(
        """
        SELECT coalesce(language, 'no text') AS language,
            coalesce(sum(duration_ms) FILTER (accepted), 0) :: BIGINT AS accepted_ms,
            coalesce(sum(duration_ms) FILTER (NOT accepted), 0) :: BIGINT AS rejected_ms, count(*) AS segments
        FROM segments GROUP BY ALL ORDER BY accepted_ms DESC, rejected_ms DESC LIMIT 50
        """
    )


def licenses(tables: ReleaseTables) -> list[dict[str, Any]]:
    return tables.rows(
        """
        SELECT coalesce(license, 'none listed') AS license, coalesce(consent_basis, 'none listed') AS consent_basis,
            count(*) AS samples, sum(duration_ms) :: BIGINT AS ms
        FROM samples GROUP BY ALL ORDER BY ms DESC LIMIT 50
        """
    )


def durations(tables: ReleaseTables) -> list[dict[str, Any]]:
    """By whole seconds of a segment: segments and time, accepted and rejected. The last bar has all longer ones."""
    return tables.rows(
        f"""
        SELECT least(duration_ms // 1000, {_LONGEST_BAR_S}) AS second, count(*) FILTER (accepted) AS accepted,
            count(*) FILTER (NOT accepted) AS rejected,
            coalesce(sum(duration_ms) FILTER (accepted), 0) :: BIGINT AS accepted_ms,
            coalesce(sum(duration_ms) FILTER (NOT accepted), 0) :: BIGINT AS rejected_ms
        FROM segments GROUP BY second ORDER BY second
        """
    )


def phones(tables: ReleaseTables) -> dict[str, Any]:
    """How often each phone of the release's set occurs, without marks such as `<pad>`.

    `every` is n if only every n-th sample was counted, by a hash of its key.
    """
    listed = [file for file in tables.release.files if file.kind == "phones"]
    names: list[str] = json.loads(tables.store.get(listed[0].path))["phones"] if listed else []
    total = int(tables.row("SELECT count(*) AS total FROM samples")["total"])
    every = total // _SAMPLED_PHONES + 1
    rows = tables.rows(
        f"""
        SELECT id, count(*) AS times
        FROM (SELECT unnest(phone_ids) AS id FROM samples WHERE hash(key) % {every} = 0) GROUP BY id ORDER BY id
        """
    )
    times = {int(row["id"]): int(row["times"]) for row in rows}
    found = [{"phone": name, "times": times.get(number, 0)} for number, name in enumerate(names) if not name.startswith("<")]
    return {"every": every, "rows": sorted(found, key=lambda row: -int(str(row["times"])))}
