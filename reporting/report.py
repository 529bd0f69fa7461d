"""Report: everything that the page shows of a release, and the page itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.corpus import Corpus
from voxbeam.reporting import contents, costs, texts
from voxbeam.reporting.clips import choose_clips, describe, make_sounds
from voxbeam.reporting.comparison import compare_with_previous
from voxbeam.reporting.duplicates import near_duplicates
from voxbeam.reporting.limits import Cost, as_documents, cost_of, limit_curves
from voxbeam.reporting.page import render
from voxbeam.reporting.rules import require_possible, rules_of
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.storage.find_segments import by_keys
from voxbeam.storage.release_tables import ReleaseTables

ROWS = 1000
"""accepted and rejected segments each that the page's table holds"""
Progress = Callable[[str], None]
_TEXT_LENGTH = 300


def report(
    uri: str,
    out: str | Path,
    *,
    release: int | None = None,
    clips: int = 3,
    codec_name: str | None = None,
    on_progress: Progress = lambda what: None,
) -> Path:
    """Writes a release as one HTML page that needs no network: what it holds, what was rejected, what other limits would keep.

    Args:
        uri: folder or bucket of the corpus.
        out: file to write.
        release: number of the release; the latest if None.
        clips: segments with sound on each side of each limit; 0 for a page without sound.
        codec_name: further codec of the release whose codes the samples are heard by; the first if None.
        on_progress: is told what is computed next.

    Returns the file. Raises StorageError when there is no such release, NotInCorpusError for a codec that it does not have.
    Memory is bounded: 10 million segments take 4 GB.
    """
    corpus = Corpus(uri, release, codec_name=codec_name)
    with ReleaseTables(corpus.store, corpus.release) as tables:
        data = collect(corpus, tables, clips=clips, on_progress=on_progress)
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(data), encoding="utf-8")
    return path


def what_if(uri: str, limits: dict[str, float], *, release: int | None = None) -> list[Cost]:
    """What other limits would keep: each of them alone and, if there are several, all together.

    `limits` are keys of the configuration with or without their section, e.g. `{"min_dnsmos_ovrl": 3.0}`. Exact, from the tables
    alone. Raises ConfigError for a key that is no limit of a score, and for a value that a policy cannot have.
    """
    corpus = Corpus(uri, release)
    rules = rules_of(corpus.release.config)
    require_possible(corpus.release, rules, limits)
    tried = [{name: limit} for name, limit in limits.items()] + ([limits] if len(limits) > 1 else [])
    with ReleaseTables(corpus.store, corpus.release) as tables:
        return [cost_of(tables, rules, some) for some in tried]


def collect(corpus: Corpus, tables: ReleaseTables, *, clips: int, on_progress: Progress) -> dict[str, Any]:
    """Everything that the page shows, as JSON."""
    release, rules = corpus.release, rules_of(corpus.release.config)
    on_progress("hours and reasons")
    data: dict[str, Any] = {
        "release": {"name": release.name, "uri": corpus.uri, "parent": release.parent, "labels": release.labels},
        "codecs": contents.codecs(release, heard_by=corpus.codec_name),
        "flow": contents.flow(tables),
    }
    on_progress("scores and limits")
    data["curves"] = as_documents(limit_curves(tables, rules))
    for name, make in (
        ("splits", contents.splits),
        ("speakers", contents.speakers),
        ("identities", contents.identities),
        ("languages", contents.languages),
        ("licenses", contents.licenses),
        ("durations", contents.durations),
        ("phones", contents.phones),
        ("suspected", texts.suspected_hallucinations),
        ("repeated", texts.repeated_texts),
        ("failures", costs.failures),
        ("comparison", compare_with_previous),
        ("rows", table_rows),
    ):
        on_progress(name)
        data[name] = make(tables)
    on_progress("duplicates")
    data["duplicates"] = near_duplicates(tables, partial(_sound_of, corpus, tables) if clips else None)
    data["costs"] = costs.build_costs(corpus.store, release.number)
    on_progress("clips")
    chosen = choose_clips(tables, rules, [row["reason"] for row in data["flow"]["reasons"]], clips)
    data["clips"] = [vars(clip) for clip in chosen]
    segments = by_keys(tables, [clip.key for clip in chosen])
    data["segments"] = describe(segments)
    data["sounds"], data["without_sound"] = make_sounds(
        corpus, segments, lambda done, total: on_progress(f"sound of clip {done + 1} of {total}")
    )
    return data


def _sound_of(corpus: Corpus, tables: ReleaseTables, key: str) -> NDArray[np.float32]:
    """The sound [S] of a sample at 16 kHz, decoded from its codes."""
    import soxr

    (segment,) = by_keys(tables, [key])
    return np.asarray(soxr.resample(corpus.sound(segment), CODEC_RATE, ASR_RATE), np.float32)


def table_rows(tables: ReleaseTables) -> dict[str, Any]:
    """Accepted and rejected segments for the page's table, the same ones every time: those with the smallest hashes of keys."""
    columns = [name for name, _ in _columns()]
    queries = (
        f"SELECT key, true AS accepted, split, [] :: VARCHAR[] AS reasons, {_shown('')} FROM samples",
        f"SELECT key, false AS accepted, NULL AS split, reasons, {_shown('')} FROM rejected",
    )
    rows = [row for query in queries for row in tables.rows(f"{query} ORDER BY hash(key), key LIMIT {ROWS}")]
    names = ["key", "accepted", "split", "reasons", *columns]
    return {"columns": names, "rows": [[_short(row[name]) for name in names] for row in rows]}


def _columns() -> Iterator[tuple[str, int]]:
    """Further columns of the page's table, and their decimals."""
    yield from (("speaker", -1), ("language", -1), ("text", -1), ("duration_ms", 0), ("dnsmos_ovrl", 2), ("snr_db", 1))
    yield from (("bandwidth_hz", 0), ("avg_logprob", 2), ("no_speech_prob", 2), ("chars_per_second", 1), ("speech_ratio", 2))
    yield from (("voice_distance", 2), ("second_voice", 2), ("loudness_lufs", 1), ("compression_ratio", 2))
    yield from (("clipping", 5), ("dropouts", 4), ("background_tonality", 3), ("language_probability", 2))
    yield from (("reference_wer", 2), ("second_wer", 2), ("second_repeats", 0))


def _shown(prefix: str) -> str:
    return ", ".join(
        f"{prefix}{name}" if decimals < 0 else f"round({prefix}{name} :: DOUBLE, {decimals}) AS {name}"
        for name, decimals in _columns()
    )


def _short(value: Any) -> Any:
    return f"{value[:_TEXT_LENGTH]}…" if isinstance(value, str) and len(value) > _TEXT_LENGTH else value
