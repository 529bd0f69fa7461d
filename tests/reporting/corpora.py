"""A corpus of two releases made by hand, whose segments are real speech: codes of the embedded codec, and recordings to cut."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, write_part
from voxbeam.pipeline.steps.shards import make_sample, write_shards
from voxbeam.schemas.formats import CODEC_RATE, FRAME_RATE, codec_stage
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, UnitRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.schemas.segment_row import SegmentRow
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.store import Store

from tests.codecs import moved_codec
from tests.pipeline.factories import CONFIG, MODELS, WITH_SEPARATOR, draft, further_codes, source, unit_row

SECONDS, SEGMENT_S = 30, 2
SPLITS = ("train", "train", "valid", "test")
HOSTILE = "<script>alert('text')</script> [/red] \x1b[31mred\u2028"
"""a transcript that a page and a terminal must show as it is"""
_WORDS = [
    "quick",
    "brown",
    "foxes",
    "jump",
    "over",
    "that",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "mixed",
    "strange",
    "potions",
]


def build_by_hand(root: Path, speech: NDArray[np.float32], recordings: int = 4) -> Store:
    """Two releases: the second has a stricter limit of DNSMOS, as its configuration says, and a further codec, `moved`."""
    wave = soxr.resample(speech[: SECONDS * 16_000], 16_000, CODEC_RATE).astype(np.float32)
    codec = load_codec(EMBEDDED_WEIGHTS)
    codes = codec.encode([wave])[0]
    (root / "in").mkdir(parents=True)
    store = Store(str(root / "corpus"))
    rows = [row for number in range(recordings) for row in _segments(number, codes)]
    listed = [_write_source(root / "in" / f"r{number}.wav", wave) for number in range(recordings)]
    moved = moved_codec(root)
    for number, limit in ((1, 1.8), (2, CONFIG.filter.min_dnsmos_ovrl)):
        assert limit is not None
        judged = [_judge(row, limit) for row in rows]
        if number == 2:
            judged = [replace(row, further_codes=further_codes(row, "moved")) for row in judged]
        _commit(store, number, limit, judged, listed, moved if number == 2 else None)
    _write_record(store)
    return store


def _segments(number: int, codes: NDArray[np.int16]) -> list[UnitRow]:
    rng = random.Random(number)
    rows = []
    for start_s in range(0, SECONDS, SEGMENT_S):
        text = " ".join(rng.choices(_WORDS, k=rng.randint(4, 9))) if start_s % 10 else "the same words are said again"
        if number == 0 and start_s == 2:
            text = HOSTILE
        frames = codes[:, start_s * FRAME_RATE : (start_s + SEGMENT_S) * FRAME_RATE]
        rows.append(
            unit_row(
                f"r{number}", start_s * 1000, SEGMENT_S * 1000, codes=frames.tobytes(), text=text, language="en",
                language_probability=0.9, avg_logprob=-rng.uniform(0.1, 0.95), no_speech_prob=rng.uniform(0, 0.5),
                compression_ratio=rng.uniform(1, 2.2), temperature=0.0, used_fallback=False,
                chars_per_second=rng.uniform(5, 20), speech_ratio=rng.uniform(0.65, 1), dnsmos_ovrl=rng.uniform(1.5, 3.6),
                dnsmos_sig=3.0, dnsmos_bak=rng.uniform(2, 4), snr_db=rng.uniform(5, 40), bandwidth_hz=rng.uniform(4000, 12_000),
                clipping=0.0, loudness_lufs=rng.uniform(-40, -15), voice_distance=rng.uniform(0.1, 0.7),
                second_voice=rng.uniform(0, 0.4), dropouts=0.0, background_tonality=rng.uniform(0, 0.1),
            )
        )  # fmt: skip
    return rows


def _judge(row: UnitRow, min_dnsmos: float) -> UnitRow:
    assert row.dnsmos_ovrl is not None and row.snr_db is not None
    found = {"overlap": row.start_ms == 4000, "low_dnsmos": row.dnsmos_ovrl < min_dnsmos, "low_snr": row.snr_db < 10}
    reasons = [reason for reason, fails in found.items() if fails]
    if "overlap" in reasons:  # rejected before anything is measured
        unknown = {f.name: None for f in fields(SegmentRow) if f.metadata["nullable"] and f.name not in ("speaker", "channel")}
        return replace(row, **unknown, rejected_by="segment", reasons=["overlap"])
    return replace(row, rejected_by="filter" if reasons else None, reasons=reasons)


def _write_source(path: Path, wave: NDArray[np.float32]) -> dict[str, Any]:
    sf.write(path, wave, CODEC_RATE, subtype="PCM_16")
    info = source(SECONDS * 1000, sha256_of(path))
    return {**vars(info), "sample_rate": CODEC_RATE, "frames": len(wave), "bytes": path.stat().st_size, "uri": str(path)}


def _commit(
    store: Store, number: int, limit: float, rows: list[UnitRow], listed: list[dict[str, Any]], moved: Path | None
) -> Release:
    names = [f.name for f in fields(SegmentRow) if f.name != "speaker"]
    files: list[ReleaseFile] = []
    recordings, voices, identities, shards = [], [], [], []
    for place, info in enumerate(listed):
        recording, split = f"r{place}", SPLITS[place % len(SPLITS)]
        own = [row for row in rows if row.recording == recording]
        accepted, rejected = ([row for row in own if bool(row.reasons) == bad] for bad in (False, True))
        members = [
            make_sample(
                row, speaker=f"reader {place}", identity=f"i{place}", identity_confidence=0.9, split=split, license="CC0-1.0",
                consent_basis="consent",
            )
            for row in accepted
        ]  # fmt: skip
        for shard, samples in write_shards(store, split, place, members, 1 << 30):
            files.append(ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples))
            files.append(write_part(store, "samples", f"{place}", samples))
            shards.append(shard)
        bad_rows = [
            RejectedRow(
                **{name: getattr(row, name) for name in names}, speaker=f"reader {place}", rejected_by=str(row.rejected_by),
                reasons=row.reasons,
            )
            for row in rejected
        ]  # fmt: skip
        files.append(write_part(store, "rejected", f"{place}", bad_rows))
        ms = {"accepted_ms": sum(row.duration_ms for row in accepted), "rejected_ms": sum(row.duration_ms for row in rejected)}
        recordings.append(
            RecordingRow(
                recording=recording, status="done", **info, **ms, non_speech_ms=SECONDS * 1000 - sum(ms.values()),
                samples=len(accepted), rejections=len(rejected), units=[f"u{place}"],
            )
        )  # fmt: skip
        voices.append(VoiceRow(voice=f"{recording}_v1", recording=recording, speaker=f"reader {place}", speech_ms=20_000))
        identities.append(
            IdentityRow(
                identity=f"i{place}", name=f"reader {place}", split=split, split_key=f"i{place}", speech_ms=20_000, recordings=1,
                voices=[f"{recording}_v1"], confidences=[0.9], confidence=0.9, similar=[], label_conflict=False, former=[],
            )
        )  # fmt: skip
    recordings.append(
        RecordingRow(
            recording="lost", uri="lost.wav", status="quarantined", units=[], stage="probe", reason="empty_file",
            error="the file has 0 bytes", remedy="copy it again from its source",
        )
    )  # fmt: skip
    tables: dict[str, list[Any]] = {"recordings": recordings, "voices": voices, "identities": identities, "shards": shards}
    files += [write_part(store, table, "part", content) for table, content in tables.items()]
    config = CONFIG.model_dump(mode="json")
    config["filter"]["min_dnsmos_ovrl"] = limit
    models = {**MODELS, "tokenize": sha256_of(EMBEDDED_WEIGHTS)}
    if moved is not None:
        config["codecs"] = {"moved": {"codec": str(moved), "sha256": None}}
        models[codec_stage("moved")] = sha256_of(moved)
    header = draft(number)
    header = ReleaseHeader(
        number=number, parent=header.parent, code_version=header.code_version, fingerprint=header.fingerprint, config=config,
        models=models,
    )  # fmt: skip
    return commit(store, header, files, {"samples": sum(not row.reasons for row in rows), "recordings": 5}, WITH_SEPARATOR)


def _write_record(store: Store) -> None:
    """A build's record as a build writes it, and one that is damaged."""
    from voxbeam.pipeline.build_record import write_record
    from voxbeam.pipeline.progress import SlowUnit, WorkerProgress

    slow = SlowUnit(recording="r1", start_ms=0, end_ms=30_000, seconds=9.5, stage="transcribe", stage_seconds=6.0)
    workers = WorkerProgress(
        units=4, accepted_ms=60_000, seconds={"decode": 1.0, "transcribe": 20.0},
        audio_ms={"decode": 120_000.0, "transcribe": 120_000.0}, slowest=[slow],
    )  # fmt: skip
    write_record(store, release=1, run_id="a", wall_s=30.0, recordings=5, libraries="torch=2.13.0", workers=workers)
    store.put_if_absent("builds/000002-b.json", b"{}")
