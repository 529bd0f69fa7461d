"""Rows, results and a small release made by hand."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, write_part
from voxbeam.pipeline.steps.shards import PackedSample, make_sample, write_shards
from voxbeam.pipeline.steps.unit_file import make_row, unit_path
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import Failure
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.fingerprint import fingerprint as make_fingerprint
from voxbeam.schemas.formats import codec_stage
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow, ShardRow, UnitRow
from voxbeam.schemas.policy import Policy
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.schemas.sample_keys import sample_key
from voxbeam.schemas.segment import LocalSpeaker, Segment
from voxbeam.schemas.unit import SegmentTotals, Unit, UnitResult
from voxbeam.storage.store import Store
from voxbeam.transforms.policy import apply_policy

PHONES = b'{"phones": ["<pad>", "a", "b", "c", "d"]}'
WITH_SEPARATOR = b'{"phones": ["<pad>", "|", "a", "b", "c"]}'


def unit_row(recording: str = "r", start_ms: int = 0, ms: int = 2000, **changes: Any) -> UnitRow:
    frames = -(-ms * 75 // 1000)
    seed = int.from_bytes(hashlib.sha256(f"{recording}{start_ms}".encode()).digest()[:4], "big")
    codes = np.random.default_rng(seed).integers(0, 1024, (8, frames), dtype=np.int16)
    values: dict[str, Any] = {
        "key": sample_key(recording, start_ms, start_ms + ms), "recording": recording, "unit": "u0", "local_speaker": "v1",
        "start_ms": start_ms, "end_ms": start_ms + ms, "duration_ms": ms, "text": f"héllo {start_ms}", "speech_ratio": 0.9,
        "phones": "h ə", "phone_ids": [3, 4], "frames": frames, "codes": codes.tobytes(), "reasons": [],
    }  # fmt: skip
    return UnitRow(**{**values, **changes}).check()


def further_codes(row: UnitRow, *codecs: str) -> list[dict[str, Any]]:
    """Codes of further codecs: those of the row plus one, two and so on, modulo 1024."""
    codes = np.frombuffer(row.codes or b"", np.int16)
    return [{"codec": name, "codes": ((codes + n) % 1024).tobytes()} for n, name in enumerate(codecs, start=1)]


def rejection_reasons(segment: Segment, config: FilterConfig, *, language: str | None) -> tuple[str, ...]:
    """Reasons of all rules that a segment of a unit fails."""
    recording = Recording(recording="r", uri="r.wav")
    unit = Unit(recording=recording, source=source(), index=0, start_ms=0, end_ms=60_000, margin_ms=0, fingerprint="f")
    return tuple(apply_policy(make_row(unit, segment), Policy(filter=config), language=language).reasons)


def member(
    recording: str = "r", start_ms: int = 0, split: str = "train", speaker: str = "s", identity: str | None = None,
    codecs: Sequence[str] = (), **changes: Any,
) -> PackedSample:  # fmt: skip
    row = unit_row(recording, start_ms, **changes)
    row = replace(row, further_codes=further_codes(row, *codecs)) if codecs else row
    return make_sample(
        row, speaker=speaker, identity=identity or speaker, identity_confidence=0.9, split=split, license="CC0-1.0",
        consent_basis="consent",
    )  # fmt: skip


def source(duration_ms: int = 60_000, sha256: str = "0" * 64) -> SourceInfo:
    return SourceInfo(
        sha256=sha256,
        bytes=1,
        format="wav",
        sample_rate=16_000,
        channels=1,
        duration_ms=duration_ms,
        frames=16 * duration_ms,
        decoder="libsndfile",
    )


def result(
    index: int, start_ms: int, end_ms: int, duration_ms: int, *, accepted: dict[str, SegmentTotals] | None = None,
    rejected: SegmentTotals | None = None, failure: Failure | None = None, peak: float = 0.5, speaker: str | None = None,
) -> UnitResult:  # fmt: skip
    recording = Recording(recording="r", uri="r.wav", speaker=speaker)
    unit = Unit(
        recording=recording, source=source(duration_ms), index=index, start_ms=start_ms, end_ms=end_ms, margin_ms=0,
        fingerprint="f",
    )  # fmt: skip
    accepted = accepted or {}
    speakers = tuple(
        LocalSpeaker(label=label, embedding=tuple(np.eye(4)[int(label[1:]) - 1].tolist()), speech_ms=totals.ms)
        for label, totals in accepted.items()
    )
    return UnitResult(
        unit=unit, start_ms=start_ms, end_ms=end_ms, peak=peak, speakers=speakers, accepted=accepted,
        rejected=rejected or SegmentTotals(), failure=failure,
    )  # fmt: skip


CONFIG = CorpusConfig()
MODELS = {"tokenize": "1" * 64}


def draft(number: int = 1, fingerprint: str | None = None, codecs: Sequence[str] = ()) -> ReleaseHeader:
    config = CorpusConfig.model_validate({"codecs": {name: {"codec": f"/{name}.safetensors"} for name in codecs}})
    models = {**MODELS, **{codec_stage(name): "2" * 64 for name in codecs}}
    return ReleaseHeader(
        number=number,
        parent=number - 1 or None,
        code_version=CODE_VERSION,
        fingerprint=fingerprint or make_fingerprint(config, models, CODE_VERSION),
        config=config.model_dump(mode="json"),
        models=models,
    )


def small_release(root: Path, *, tables: dict[str, Any] | None = None, codecs: Sequence[str] = ()) -> tuple[Store, Release]:
    """Two speakers in two splits, five samples, one rejection; `tables` replaces the rows of a table before it is put.

    `codecs` are further codecs.
    """
    store = Store(str(root))
    shards: list[ShardRow] = []
    samples: list[SampleRow] = []
    for split, recording in (("train", "r"), ("valid", "q")):
        speaker = f"speaker_{recording}"
        members = [member(recording, start, split, speaker=speaker, codecs=codecs) for start in (0, 3000, 7000)]
        for shard, packed in write_shards(store, split, 0, members[: 3 if split == "train" else 2], 1 << 30):
            shards.append(shard)
            samples += packed
    rejected = RejectedRow(
        key=sample_key("r", 10_000, 11_000), recording="r", unit="u0", start_ms=10_000, end_ms=11_000, duration_ms=1000,
        speech_ratio=0.1, rejected_by="filter", reasons=["low_snr"],
    )  # fmt: skip
    recordings = [
        RecordingRow(
            recording=name, uri=f"{name}.wav", status="done", accepted_ms=accepted, rejected_ms=lost,
            **vars(source(12_000, hashlib.sha256(name.encode()).hexdigest())),
            non_speech_ms=12_000 - accepted - lost, samples=accepted // 2000, rejections=lost // 1000, units=["u0"],
        )
        for name, accepted, lost in (("q", 4000, 0), ("r", 6000, 1000))
    ]  # fmt: skip
    voices = [
        VoiceRow(voice=f"{name}_v1", recording=name, speaker=f"speaker_{name}", name=f"speaker_{name}", speech_ms=1000)
        for name in ("q", "r")
    ]
    identities = [
        IdentityRow(
            identity=voice.speaker, name=voice.name, split=split, split_key=voice.speaker, speech_ms=1000, recordings=1,
            voices=[voice.voice], confidences=[0.9], similar=[], label_conflict=False, former=[],
        )
        for voice, split in zip(voices, ("valid", "train"), strict=True)
    ]  # fmt: skip
    rows: dict[str, list[Any]] = {
        "voices": voices,
        "identities": identities,
        "samples": samples,
        "rejected": [rejected],
        "recordings": recordings,
        "shards": shards,
    }
    for table, change in (tables or {}).items():
        rows[table] = change(rows[table])
    files = [ReleaseFile(path=s.shard, kind="shard", sha256=s.sha256, bytes=s.bytes, rows=s.samples) for s in shards]
    files += [write_part(store, table, "part", content) for table, content in rows.items()]
    store.put_if_absent(unit_path("u0"), b"the unit of both recordings; only that it exists matters here")
    counts = {
        "samples": 5, "accepted_ms": 10_000, "frames": 750, "shards": 2, "recordings": 2, "done": 2, "quarantined": 0,
        "rejected": 1, "rejected_ms": 1000, "non_speech_ms": 13_000, "duration_ms": 24_000,
        "voices": 2, "identities": 2,
    }  # fmt: skip
    return store, commit(store, draft(codecs=codecs), files, counts, PHONES)


def release_of(folder: Path, members: dict[str, list[PackedSample]], *, recordings: Sequence[str] = ()) -> Store:
    """A release that holds samples, by split, in a shard for each; no other tables but that of `recordings`."""
    store = Store(str(folder))
    files: list[ReleaseFile] = []
    for split, some in members.items():
        for shard, rows in write_shards(store, split, 0, some, 1 << 30):
            files.append(ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples))
            files.append(write_part(store, "samples", f"{split}-{len(files)}", list(rows)))
    listed = [
        RecordingRow(
            recording=name,
            uri=f"{name}.wav",
            status="done",
            units=[],
            non_speech_ms=60_000,
            **vars(source(sha256=hashlib.sha256(name.encode()).hexdigest())),
        )
        for name in recordings
    ]
    files += [write_part(store, "recordings", "part", listed)] if listed else []
    commit(store, draft(), files, {}, WITH_SEPARATOR)
    return store


def contents(release: Release | None) -> set[tuple[str, str]]:
    """Kind and hash of the files of a release, but of those that state its number."""
    assert release is not None
    return {(file.kind, file.sha256) for file in release.files if file.kind not in DESCRIPTIONS}


LEFT = (
    f"units/ab/{'ab' * 16}/{'12' * 8}.arrow",
    f"shards/train/train-000000-{'cd' * 8}.tar",
    "manifests/000009-0123abcd/samples/x.parquet",
    f"listings/{'ef' * 8}.parquet",
    f"listings/policy-{'ef' * 8}.json",
)
"""what killed builds may leave behind"""


def age(folder: Path, by: timedelta) -> None:
    """Makes everything below a folder as old as that."""
    for path in folder.rglob("*"):
        then = time.time() - by.total_seconds()
        os.utime(path, (then, then))
