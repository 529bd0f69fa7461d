"""Time and memory of `voxbeam report` on a release of 10 million made segments, without audio and shards.

    PYTHONPATH=. python benchmarks/report.py [--millions 10] [--folder FOLDER] [--memory-gb 4]

Writes the tables of a release (5 GB for 10 million), then runs the command in a process of its own, as a user would, and samples
the resident size of it and its children four times a second. Its sounds are missing, as there are no shards; everything else is
computed. Texts are random sentences, a twentieth of them one of a thousand; scores are drawn around those of read speech.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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
_REASONS = ("low_dnsmos", "low_snr", "low_logprob", "overlap")
_WORDS = np.array([a + b for a in ("ba", "de", "fo", "ku", "li", "ma", "ne", "po", "ru", "si") for b in ("n", "rt", "st", "lk", "mp", "nd", "ck", "sh")])
_PHONES = np.array(["æ", "n", "d", "s", "oʊ", "ɪ", "t", "w", "ʌ", "z", "k", "l"])


def made_rows(rng: np.random.Generator, first: int, count: int, accepted: bool) -> dict[str, object]:
    """Columns of `count` segments, by name; those that are missing are null."""
    number = np.arange(first, first + count)
    recording = number // SEGMENTS_OF_RECORDING
    start = (number % SEGMENTS_OF_RECORDING) * 20_000
    ms = rng.integers(1_200, 20_000, count)
    names = np.char.add("speaker-book-", recording.astype(str))
    keys = np.char.add(np.char.add(np.char.add(names, "_"), np.char.zfill(start.astype(str), 8)), np.char.add("_", np.char.zfill((start + ms).astype(str), 8)))
    words = _WORDS[rng.integers(0, len(_WORDS), (count, 12))]
    common = _WORDS[np.random.default_rng(1).integers(0, len(_WORDS), (1000, 12))]
    again = rng.random(count) < 0.05
    words[again] = common[rng.integers(0, 1000, int(again.sum()))]
    text = pa.array([" ".join(row) for row in words.tolist()])
    speaker = np.char.add("s", (recording // RECORDINGS_OF_SPEAKER).astype(str))

    def scores(mean: float, deviation: float, low: float, high: float) -> NDArray[np.float32]:
        return np.clip(rng.normal(mean, deviation, count), low, high).astype(np.float32)

    columns: dict[str, object] = {
        "key": keys, "recording": names, "unit": np.char.add("u", recording.astype(str)), "speaker": speaker,
        "start_ms": start, "end_ms": start + ms, "duration_ms": ms, "text": text, "language": np.full(count, "en"),
        "language_probability": scores(0.97, 0.02, 0, 1), "avg_logprob": scores(-0.3, 0.15, -3, 0),
        "no_speech_prob": scores(0.03, 0.05, 0, 1), "compression_ratio": scores(1.4, 0.2, 0.5, 5),
        "temperature": np.zeros(count, np.float32), "used_fallback": rng.random(count) < 0.01,
        "chars_per_second": scores(14, 3, 0, 40), "second_wer": scores(0.1, 0.1, 0, 2), "speech_ratio": scores(0.9, 0.05, 0, 1),
        "dnsmos_ovrl": scores(3.0, 0.4, 1, 5), "dnsmos_sig": scores(3.2, 0.3, 1, 5), "dnsmos_bak": scores(3.8, 0.4, 1, 5),
        "snr_db": scores(28, 9, -5, 80), "bandwidth_hz": scores(8000, 1500, 2000, 12_000), "clipping": np.zeros(count, np.float32),
        "loudness_lufs": scores(-23, 4, -60, 0), "voice_distance": scores(0.3, 0.1, 0, 2), "second_voice": scores(0.1, 0.1, 0, 1),
        "dropouts": np.zeros(count, np.float32), "background_tonality": scores(0.03, 0.03, -1, 1),
    }  # fmt: skip
    if not accepted:
        first_reason = rng.integers(0, len(_REASONS), count)
        both = rng.random(count) < 0.3
        reasons = [[_REASONS[i], "too_fast"] if two else [_REASONS[i]] for i, two in zip(first_reason.tolist(), both.tolist(), strict=True)]
        return {**columns, "rejected_by": np.full(count, "filter"), "reasons": pa.array(reasons)}
    phones = _PHONES[rng.integers(0, len(_PHONES), (count, 40))]
    lengths = np.arange(0, 40 * count + 1, 40, dtype=np.int32)
    return {
        **columns, "split": np.where(recording % 50 == 0, "valid", "train"), "identity": np.char.add("i", (recording // RECORDINGS_OF_SPEAKER).astype(str)),
        "identity_confidence": scores(0.9, 0.05, 0, 1), "license": np.full(count, "CC0-1.0"), "consent_basis": np.full(count, "public-domain"),
        "phones": pa.array([" ".join(row) for row in phones.tolist()]),
        "phone_ids": pa.ListArray.from_arrays(pa.array(lengths), pa.array(rng.integers(2, 60, 40 * count).astype(np.int16))),
        "frames": (ms * 75 // 1000).astype(np.int32), "shard": np.full(count, "shards/train/train-000000-0.tar"),
        "codes_offset": number * 3000, "codes_bytes": ms, "codes_crc32": rng.integers(0, 1 << 32, count).astype(np.uint32),
        "json_offset": number * 3000, "json_bytes": np.full(count, 900),
    }  # fmt: skip


def as_table(record: type[Record], columns: dict[str, object], count: int) -> pa.Table:
    schema = arrow_schema(record)
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays([a if isinstance(a, pa.Array) else a.combine_chunks() for a in arrays], schema=schema)


def made_recordings(count: int) -> pa.Table:
    number = np.arange(count)
    names = np.char.add("speaker-book-", number.astype(str))
    kept = np.full(count, 400_000)
    columns: dict[str, object] = {
        "recording": names, "uri": np.char.add("/audio/", names), "status": np.full(count, "done"), "duration_ms": kept * 2,
        "accepted_ms": kept, "rejected_ms": kept // 4, "non_speech_ms": kept * 2 - kept - kept // 4, "failed_ms": np.zeros(count, np.int64),
        "samples": np.full(count, 38), "rejections": np.full(count, 7), "speakers": np.full(count, 1, np.int32),
        "units": pa.array([[f"u{i}"] for i in range(count)]),
    }  # fmt: skip
    return as_table(TABLES["recordings"], columns, count)


def made_identities(count: int) -> pa.Table:
    names = np.char.add("i", np.arange(count).astype(str))
    lists = {name: pa.array([[]] * count, pa.list_(pa.string())) for name in ("similar", "former")}
    columns: dict[str, object] = {
        "identity": names, "name": names, "split": np.full(count, "train"), "split_key": names, "speech_ms": np.full(count, 1_000_000),
        "recordings": np.full(count, 30, np.int32), "voices": pa.array([[f"{name}_v1"] for name in names.tolist()]),
        "confidences": pa.array([[0.9]] * count, pa.list_(pa.float32())), "label_conflict": np.zeros(count, bool), **lists,
    }  # fmt: skip
    return as_table(TABLES["identities"], columns, count)


def tables(millions: float) -> Iterator[tuple[str, pa.Table]]:
    """Parts of all tables, each with its kind."""
    total = round(millions * 1e6)
    rng = np.random.default_rng(0)
    for first in range(0, total, ROWS_OF_PART):
        count = min(ROWS_OF_PART, total - first)
        bad = round(count * REJECTED)
        yield "samples", as_table(TABLES["samples"], made_rows(rng, first, count - bad, True), count - bad)
        yield "rejected", as_table(TABLES["rejected"], made_rows(rng, first + count - bad, bad, False), bad)
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


def measure(command: list[str]) -> tuple[float, float, str]:
    """Seconds, GB at most of a command and its children, and the end of what it wrote."""
    started, most = time.monotonic(), 0
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                most = max(most, sum(p.memory_info().rss for p in [watched, *watched.children(recursive=True)]))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.25)
        log.seek(0)
        if process.returncode:
            sys.exit(log.read().decode())
        return time.monotonic() - started, most / 1e9, log.read().decode()[-500:]


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
            print(f"{options.millions:g} million segments made in {time.monotonic() - started:.0f} s: {size / 1e9:.2f} GB of tables")
        program = [sys.executable, "-m", "voxbeam"]
        for what in (["report", str(folder), "--out", os.fspath(folder / "report.html")], ["report", str(folder), "--try", "min_dnsmos_ovrl=3.0"]):
            seconds, gb, end = measure([*program, *what])
            print(f"voxbeam {what[0]} {' '.join(what[2:])}: {seconds:.1f} s, at most {gb:.2f} GB\n{end}")
        print(f"page: {(folder / 'report.html').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
