"""Time and memory of `voxbeam report` on a release of 10 million made segments, without audio and shards.

    PYTHONPATH=. python benchmarks/report.py [--millions 10] [--folder FOLDER]

Writes the tables of a release (1.6 GB for 10 million), then runs the command in a process of its own, as a user would, and
samples the resident size of it and its children four times a second. On a machine with other work, processor time says more
than wall time. Sounds are missing, as there are no shards; everything else is computed. Texts are random sentences, a twentieth
of them one of a thousand; scores are drawn around those of read speech.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.schemas.columns import Record, arrow_schema
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.manifest import TABLES
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.releases import release_path
from voxbeam.storage.store import Store

ROWS_OF_PART = 250_000
SEGMENTS_OF_RECORDING, RECORDINGS_OF_SPEAKER = 45, 30
REJECTED = 1 / 6
_WORDS = [
    a + b
    for a in ("ba", "de", "fo", "ku", "li", "ma", "ne", "po", "ru", "si")
    for b in ("n", "rt", "st", "lk", "mp", "nd", "ck", "sh")
]
_RECORDING = f"'speaker-book-' || i // {SEGMENTS_OF_RECORDING}"
_START = f"i % {SEGMENTS_OF_RECORDING} * 20000"


def _uniform(salt: int) -> str:
    """SQL of a number in [0, 1) that follows from the row's number i."""
    return f"(hash(i * 1000 + {salt}) % 1000003 / 1000003.0)"


def _score(salt: int, mean: float, deviation: float, low: float, high: float) -> str:
    """SQL of a nearly normal number."""
    total = " + ".join(_uniform(salt * 10 + n) for n in range(4))
    return f"least(greatest({mean} + {deviation} * 1.73 * ({total} - 2), {low}), {high})"


def _pick(words: list[str], count: int, number: str) -> str:
    """SQL of `count` words joined by spaces."""
    listed = ", ".join(f"'{word}'" for word in words)
    chosen = f"list_transform(range({count}), lambda k: [{listed}][CAST(1 + hash({number} * 100 + k) % {len(words)} AS BIGINT)])"
    return f"array_to_string({chosen}, ' ')"


def segment_columns(accepted: bool) -> dict[str, str]:
    """SQL of the columns of a segment; those that are missing are null."""
    columns = {
        "key": f"format('{{}}_{{:08d}}_{{:08d}}', {_RECORDING}, {_START}, {_START} + ms)",
        "recording": _RECORDING,
        "unit": f"'u' || i // {SEGMENTS_OF_RECORDING}",
        "speaker": f"'s' || i // {SEGMENTS_OF_RECORDING * RECORDINGS_OF_SPEAKER}",
        "start_ms": _START,
        "end_ms": f"{_START} + ms",
        "duration_ms": "ms",
        "language": "'en'",
        "temperature": "0",
        "clipping": "0",
        "text": _pick(_WORDS, 12, f"(CASE WHEN {_uniform(1)} < 0.05 THEN i % 1000 ELSE i + 1000 END)"),
        "dropouts": "0",
        "language_probability": _score(2, 0.97, 0.02, 0, 1),
        "avg_logprob": _score(3, -0.3, 0.15, -3, 0),
        "no_speech_prob": _score(4, 0.03, 0.05, 0, 1),
        "compression_ratio": _score(5, 1.4, 0.2, 0.5, 5),
        "used_fallback": f"{_uniform(6)} < 0.01",
        "chars_per_second": _score(7, 14, 3, 0, 40),
        "second_wer": _score(8, 0.1, 0.1, 0, 2),
        "speech_ratio": _score(9, 0.9, 0.05, 0, 1),
        "dnsmos_ovrl": _score(10, 3.0, 0.4, 1, 5),
        "dnsmos_sig": _score(11, 3.2, 0.3, 1, 5),
        "dnsmos_bak": _score(12, 3.8, 0.4, 1, 5),
        "snr_db": _score(13, 28, 9, -5, 80),
        "bandwidth_hz": _score(14, 8000, 1500, 2000, 12000),
        "loudness_lufs": _score(15, -23, 4, -60, 0),
        "voice_distance": _score(16, 0.3, 0.1, 0, 2),
        "second_voice": _score(17, 0.1, 0.1, 0, 1),
        "background_tonality": _score(18, 0.03, 0.03, -1, 1),
    }
    if not accepted:
        one = "['low_dnsmos', 'low_snr', 'low_logprob', 'overlap'][CAST(1 + hash(i) % 4 AS BIGINT)]"
        return {
            **columns,
            "rejected_by": "'filter'",
            "reasons": f"CASE WHEN hash(i) % 10 < 3 THEN [{one}, 'too_fast'] ELSE [{one}] END",
        }
    return {
        **columns,
        "split": "CASE WHEN hash(speaker) % 50 = 0 THEN 'valid' ELSE 'train' END",
        "identity": "replace(speaker, 's', 'i')",
        "identity_confidence": "0.9",
        "license": "'CC0-1.0'",
        "consent_basis": "'public-domain'",
        "phones": "'æ n d | s oʊ | ɪ t | w ʌ z'",
        "phone_ids": "list_transform(range(40), lambda k: (2 + hash(i * 40 + k) % 58) :: SMALLINT)",
        "frames": "ms * 75 // 1000",
        "shard": "'shards/train/train-000000-0.tar'",
        "codes_offset": "i * 3000",
        "codes_bytes": "ms",
        "codes_crc32": "hash(i) % 4294967296",
        "json_offset": "i * 3000",
        "json_bytes": "900",
    }


def made_segments(first: int, count: int, kind: str) -> pa.Table:
    """Rows of `samples` or `rejected`, those with the numbers from `first`."""
    schema, made = arrow_schema(TABLES[kind]), segment_columns(kind == "samples")
    listed = ", ".join(f"{made.get(name, 'NULL')} AS {name}" for name in schema.names)
    rows = f"SELECT i, 1200 + hash(i) % 18800 AS ms FROM range({first}, {first + count}) AS made(i)"
    answer = duckdb.sql(f"SELECT {listed} FROM ({rows}) ORDER BY i")
    assert answer is not None
    found = answer.to_arrow_table()
    return pa.Table.from_arrays([found[f.name].cast(f.type) for f in schema], schema=schema)


def as_table(record: type[Record], columns: dict[str, object], count: int) -> pa.Table:
    schema = arrow_schema(record)
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays([a if isinstance(a, pa.Array) else a.combine_chunks() for a in arrays], schema=schema)


def made_recordings(count: int) -> pa.Table:
    number = np.arange(count)
    names = np.char.add("speaker-book-", number.astype(str))
    kept = np.full(count, 400_000)
    columns: dict[str, object] = {
        "recording": names,
        "uri": np.char.add("/audio/", names),
        "status": np.full(count, "done"),
        "duration_ms": kept * 2,
        "accepted_ms": kept,
        "rejected_ms": kept // 4,
        "non_speech_ms": kept * 2 - kept - kept // 4,
        "failed_ms": np.zeros(count, np.int64),
        "samples": np.full(count, 38),
        "rejections": np.full(count, 7),
        "speakers": np.full(count, 1, np.int32),
        "units": pa.array([[f"u{i}"] for i in range(count)]),
    }
    return as_table(TABLES["recordings"], columns, count)


def made_identities(count: int) -> pa.Table:
    names = np.char.add("i", np.arange(count).astype(str))
    lists = {name: pa.array([[]] * count, pa.list_(pa.string())) for name in ("similar", "former")}
    columns: dict[str, object] = {
        "identity": names,
        "name": names,
        "split": np.full(count, "train"),
        "split_key": names,
        "speech_ms": np.full(count, 1_000_000),
        "recordings": np.full(count, 30, np.int32),
        "voices": pa.array([[f"{name}_v1"] for name in names.tolist()]),
        "confidences": pa.array([[0.9]] * count, pa.list_(pa.float32())),
        "label_conflict": np.zeros(count, bool),
        **lists,
    }
    return as_table(TABLES["identities"], columns, count)


def tables(millions: float) -> Iterator[tuple[str, pa.Table]]:
    """Parts of all tables, each with its kind."""
    total = round(millions * 1e6)
    for first in range(0, total, ROWS_OF_PART):
        count = min(ROWS_OF_PART, total - first)
        bad = round(count * REJECTED)
        yield "samples", made_segments(first, count - bad, "samples")
        yield "rejected", made_segments(first + count - bad, bad, "rejected")
    recordings = total // SEGMENTS_OF_RECORDING + 1
    yield "recordings", made_recordings(recordings)
    yield "identities", made_identities(recordings // RECORDINGS_OF_SPEAKER + 1)


def write_release(folder: Path, millions: float) -> int:
    """A release of made segments, and the bytes of its tables."""
    store, files = Store(str(folder)), []
    for number, (kind, table) in enumerate(tables(millions)):
        path = folder / "manifests" / "000001-made" / kind / f"{number:04d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd", row_group_size=50_000)
        relative = str(path.relative_to(folder))
        files.append(ReleaseFile(path=relative, kind=kind, sha256=sha256_of(path), bytes=path.stat().st_size, rows=len(table)))
    release = Release(
        number=1, parent=None, code_version=CODE_VERSION, fingerprint=hashlib.sha256(b"made").hexdigest(),
        config=CorpusConfig().model_dump(mode="json"), models={}, counts={}, files=tuple(files),
    )  # fmt: skip
    store.put_if_absent(release_path(1), release.to_json())
    return sum(file.bytes for file in files)


def measure(command: list[str]) -> tuple[str, str]:
    """Seconds, processor time and GB at most of a command and its children; and the end of what it wrote."""
    started, most = time.monotonic(), 0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most = max(most, sum(p.memory_info().rss for p in [watched, *watched.children(recursive=True)]))
            time.sleep(0.25)
        log.seek(0)
        written = log.read().decode()
        if process.returncode:
            sys.exit(f"exit status {process.returncode}: {written[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{time.monotonic() - started:.1f} s, {cpu:.1f} s of processor time, at most {most / 1e9:.2f} GB", written[-500:]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--millions", type=float, default=10, help="segments (default: %(default)s)")
    arguments.add_argument("--folder", type=Path, help="for the tables; kept, and used again if they are there")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / release_path(1)).exists():
            started = time.monotonic()
            size = write_release(folder, options.millions)
            print(
                f"{options.millions:g} million segments made in {time.monotonic() - started:.0f} s: {size / 1e9:.2f} GB of tables"
            )
        program = [sys.executable, "-m", "voxbeam"]
        for what in (
            ["report", str(folder), "--out", os.fspath(folder / "report.html")],
            ["report", str(folder), "--try", "min_dnsmos_ovrl=3.0"],
        ):
            figures, end = measure([*program, *what])
            print(f"voxbeam {what[0]} {' '.join(what[2:])}: {figures}\n{end}", flush=True)
        print(f"page: {(folder / 'report.html').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
