"""Manifest: the rows of a release's Parquet tables. `python -m voxbeam.schemas.document` writes docs/columns.md from them."""

from dataclasses import dataclass, fields
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import Record, column, require
from voxbeam.schemas.formats import FRAME_MS, SPLITS
from voxbeam.schemas.further_codes import FurtherCodes, sample_column, unit_column
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment_row import SegmentRow

_WORD = pa.struct([("text", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64()), ("probability", pa.float32())])
_FAILED_WINDOW = pa.struct(
    [("start_ms", pa.int64()), ("end_ms", pa.int64())] + [(name, pa.string()) for name in ("stage", "reason", "error", "remedy")]
)


@dataclass(frozen=True, kw_only=True)
class UnitRow(SegmentRow):
    """A segment in the file of its unit, before its speaker is known, by no policy. It has everything that packing needs."""

    local_speaker: str | None = column(
        pa.string(), "label of the speaker within the unit; null if there is no single one", default=None
    )
    phones: str | None = column(pa.string(), "IPA phones separated by spaces, words by ' | '", default=None)
    phone_ids: list[int] = column(pa.list_(pa.int16()), "phones as ids of the release's phone set")
    words: list[dict[str, object]] | None = column(
        pa.list_(_WORD), "words with times in the recording, if transcribe.word_timestamps is on", default=None
    )
    frames: int = column(pa.int32(), "codec frames, 75 per second; 0 if not cut well")
    codes: bytes | None = column(pa.binary(), "codes int16 [8, frames] in C order", default=None)
    flac: bytes | None = column(pa.binary(), "24 kHz FLAC, if pack.keep_audio is on", default=None)
    rejected_by: str | None = column(pa.string(), "segment if it was not cut well, phonemize if it has no phones", default=None)
    reasons: list[str] = column(pa.list_(pa.string()), "reason codes of that")
    further_codes: FurtherCodes = unit_column()


@dataclass(frozen=True, kw_only=True)
class SampleRow(SegmentRow):
    """An accepted segment: its text and phones, and where its files are in a shard."""

    VERSION: ClassVar[int] = 9
    OLDEST: ClassVar[int] = 7

    split: str = column(pa.string(), "train, valid or test; every identity is in exactly one")
    identity: str = column(
        pa.string(), "identifier of the person, across recordings; not in the tar's JSON, since a later release may join two"
    )
    identity_confidence: float | None = column(
        pa.float32(),
        "probability that its voice is of this identity and of no other; null without embedding",
        default=None,
    )
    license: str | None = column(pa.string(), "license of the recording, SPDX identifier", default=None)
    consent_basis: str | None = column(pa.string(), "why the speaker's voice may be used", default=None)
    phones: str = column(pa.string(), "IPA phones separated by spaces, words by ' | '")
    phone_ids: list[int] = column(pa.list_(pa.int16()), "phones as ids of the release's phone set")
    words: list[dict[str, object]] | None = column(
        pa.list_(_WORD), "words with times in the recording, if transcribe.word_timestamps is on", default=None
    )
    frames: int = column(pa.int32(), "codec frames, 75 per second")
    shard: str = column(pa.string(), "tar file with the sample, path below the corpus")
    codes_offset: int = column(pa.int64(), "first byte of `<key>.codes.npy` in the shard", unit="bytes")
    codes_bytes: int = column(pa.int64(), "length of `<key>.codes.npy`", unit="bytes")
    codes_crc32: int = column(pa.uint32(), "CRC-32 of `<key>.codes.npy` (as in zlib), for readers of byte ranges")
    json_offset: int = column(pa.int64(), "first byte of `<key>.json` in the shard", unit="bytes")
    json_bytes: int = column(pa.int64(), "length of `<key>.json`", unit="bytes")
    flac_offset: int | None = column(
        pa.int64(), "first byte of `<key>.flac`, if pack.keep_audio is on", unit="bytes", default=None
    )
    flac_bytes: int | None = column(pa.int64(), "length of `<key>.flac`, if pack.keep_audio is on", unit="bytes", default=None)
    further_codes: FurtherCodes = sample_column()

    def check(self) -> Self:
        super().check()
        require(self.split in SPLITS, f"{self.key}: the split {self.split!r} is none of {SPLITS}")
        require(
            abs(self.frames * FRAME_MS - self.duration_ms) <= FRAME_MS,
            f"{self.key}: {self.frames} frames do not fit {self.duration_ms} ms",
        )
        there = bool(self.speaker and self.identity and self.text and self.phone_ids)
        require(there, f"{self.key}: the sample lacks speaker, identity, text or phones")
        return self


@dataclass(frozen=True, kw_only=True)
class RejectedRow(SegmentRow):
    """A rejected segment, with every reason and the scores that it has."""

    rejected_by: str = column(pa.string(), "stage or section of the policy that rejected it first")
    reasons: list[str] = column(pa.list_(pa.string()), "reason codes, all that apply")

    def check(self) -> Self:
        super().check()
        require(bool(self.reasons), f"{self.key}: the rejection has no reason")
        return self


RELEASED = ("done", "partial")
"""statuses of recordings whose time is accounted for"""
EXCLUDED = "excluded"
"""status of recordings that are left out on purpose"""
DUPLICATE = "duplicate"
"""reason of a recording with the bytes of another one, which is released"""


@dataclass(frozen=True, kw_only=True)
class RecordingRow(Recording):
    """A listed recording and its outcome: done or partial, with its time accounted for, or quarantined or excluded."""

    VERSION: ClassVar[int] = 3

    status: str = column(pa.string(), "done, partial (some windows failed), quarantined, or excluded on purpose")
    sha256: str | None = column(pa.string(), "hash of the file", default=None)
    bytes: int | None = column(pa.int64(), "size of the file", unit="bytes", default=None)
    format: str | None = column(pa.string(), "container format", default=None)
    sample_rate: int | None = column(pa.int32(), "sample rate of the file", unit="Hz", default=None)
    channels: int | None = column(pa.int32(), "channels of the file", default=None)
    frames: int | None = column(pa.int64(), "samples per channel that decoding the file yields", default=None)
    duration_ms: int | None = column(pa.int64(), "duration", unit="ms", default=None)
    decoder: str | None = column(pa.string(), "library that decodes its windows", default=None)
    channel_policy: str | None = column(
        pa.string(),
        "how its channels make its sound: mono, mean, twin (both the same), inverted, one_silent or delayed (one is used), or "
        "separate (each is a track of its own)",
        default=None,
    )
    channel: int | None = column(pa.int32(), "the only channel that is used; null if all are", default=None)
    etag: str | None = column(pa.string(), "version of the bucket's object that was read", default=None)
    accepted_ms: int = column(pa.int64(), "time in samples", unit="ms", default=0)
    rejected_ms: int = column(pa.int64(), "time in rejected segments", unit="ms", default=0)
    non_speech_ms: int = column(pa.int64(), "time outside of segments", unit="ms", default=0)
    failed_ms: int = column(pa.int64(), "time in windows that failed", unit="ms", default=0)
    samples: int = column(pa.int64(), "number of samples", default=0)
    rejections: int = column(pa.int64(), "number of rejected segments", default=0)
    speakers: int = column(pa.int32(), "number of speakers that the diarizer finds", default=0)
    units: list[str] = column(pa.list_(pa.string()), "names of its finished units, in order of track and time")
    failed_windows: list[dict[str, object]] | None = column(
        pa.list_(_FAILED_WINDOW), "windows that failed, each with its place, stage, reason, error and remedy", default=None
    )
    stage: str | None = column(
        pa.string(), "stage that quarantined it, or failed on its first failed window; exclude", default=None
    )
    reason: str | None = column(pa.string(), "reason code of that", default=None)
    error: str | None = column(pa.string(), "exception class and message", default=None)
    remedy: str | None = column(pa.string(), "what the owner of the data can do", default=None)

    def as_listed(self) -> Recording:
        """The recording as its listing describes it."""
        return Recording(**{field.name: getattr(self, field.name) for field in fields(Recording)})

    def as_source(self) -> SourceInfo:
        """What its file is, as it was probed. Only for a recording that could be."""
        return SourceInfo(**{field.name: getattr(self, field.name) for field in fields(SourceInfo)})

    def check(self) -> Self:
        super().check()
        require(self.status in (*RELEASED, "quarantined", EXCLUDED), f"{self.recording}: the status {self.status!r} is not known")
        if self.status in RELEASED:
            total = self.accepted_ms + self.rejected_ms + self.non_speech_ms + self.failed_ms
            require(
                self.duration_ms is not None and abs(total - self.total_ms) <= FRAME_MS,
                f"{self.recording}: accepted + rejected + non-speech + failed is {total} ms, the duration {self.total_ms} ms",
            )
            failed_ms = sum(int(str(window["end_ms"])) - int(str(window["start_ms"])) for window in self.failed_windows or [])
            require(
                failed_ms == self.failed_ms and (failed_ms > 0) == (self.status == "partial"),
                f"{self.recording}: {failed_ms} ms of failed windows do not fit {self.failed_ms} ms and the status {self.status}",
            )
        else:
            require(
                bool(self.reason and self.stage and self.remedy),
                f"{self.recording}: the quarantine lacks stage, reason or remedy",
            )
        return self

    @property
    def total_ms(self) -> int:
        """The duration, counted once for each track."""
        return (self.duration_ms or 0) * (self.channels or 1 if self.channel_policy == "separate" else 1)


@dataclass(frozen=True, kw_only=True)
class ShardRow:
    """A tar file of samples."""

    VERSION: ClassVar[int] = 1

    shard: str = column(pa.string(), "path below the corpus")
    split: str = column(pa.string(), "train, valid or test")
    sha256: str = column(pa.string(), "hash of the tar file")
    bytes: int = column(pa.int64(), "size of the tar file", unit="bytes")
    samples: int = column(pa.int64(), "number of samples")
    frames: int = column(pa.int64(), "total of codec frames")
    duration_ms: int = column(pa.int64(), "total duration of the samples", unit="ms")
    first_key: str = column(pa.string(), "first key")
    last_key: str = column(pa.string(), "last key")

    def check(self) -> Self:
        require(self.split in SPLITS, f"{self.shard}: the split {self.split!r} is none of {SPLITS}")
        require(self.samples > 0, f"{self.shard} has no samples")
        return self


TABLES: dict[str, type[Record]] = {
    "samples": SampleRow,
    "rejected": RejectedRow,
    "recordings": RecordingRow,
    "shards": ShardRow,
    "voices": VoiceRow,
    "identities": IdentityRow,
}
"""the tables of a release, by the kind of their files"""
