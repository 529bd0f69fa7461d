"""Manifest rows: what the Parquet tables of a release say about every sample, rejection, recording and shard.

`docs/columns.md` is made from this file (`python -m voxbeam.schemas.document`).
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import column, require
from voxbeam.schemas.recording import Recording

FRAME_RATE = 75
"""codec frames per second"""
FRAME_MS = 1000 / FRAME_RATE
SPLITS = ("train", "valid", "test")

_WORD = pa.struct([("text", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64()), ("probability", pa.float32())])


def sample_key(recording: str, start_ms: int, end_ms: int) -> str:
    """Key of a segment: `<recording>_<start_ms>_<end_ms>`, padded so that order of key is order of time."""
    return f"{recording}_{start_ms:08d}_{end_ms:08d}"


@dataclass(frozen=True, kw_only=True)
class SegmentRow:
    """What is known of any segment, accepted or rejected. Scores are null where it was rejected before they were taken."""

    VERSION: ClassVar[int] = 2

    key: str = column("`<recording>_<start_ms>_<end_ms>`, unique in a release", pa.string())
    recording: str = column("identifier of the recording", pa.string())
    unit: str = column("name of the unit of work that made it", pa.string())
    speaker: str | None = column("speaker; null where no single voice is heard", pa.string(), default=None)
    start_ms: int = column("start in the recording", pa.int64(), unit="ms")
    end_ms: int = column("end in the recording", pa.int64(), unit="ms")
    duration_ms: int = column("end − start", pa.int64(), unit="ms")
    text: str | None = column("what the recognizer heard", pa.string(), default=None)
    language: str | None = column("language heard, ISO 639-1", pa.string(), default=None)
    language_probability: float | None = column("probability of that language", pa.float32(), default=None)
    avg_logprob: float | None = column("mean log-probability of the recognizer's tokens", pa.float32(), default=None)
    no_speech_prob: float | None = column("recognizer's probability of no speech", pa.float32(), default=None)
    compression_ratio: float | None = column("text length over its compressed length; loops are high", pa.float32(), default=None)
    temperature: float | None = column("sampling temperature of the accepted decode, 0 is greedy", pa.float32(), default=None)
    redecoded: bool | None = column("first decode was flagged, and the segment decoded again alone", pa.bool_(), default=None)
    chars_per_second: float | None = column("characters of text per second", pa.float32(), unit="1/s", default=None)
    speech_ratio: float = column("share of the segment in which the diarizer hears its voice", pa.float32())
    dnsmos_ovrl: float | None = column("DNSMOS P.835 overall quality, 1–5", pa.float32(), default=None)
    dnsmos_sig: float | None = column("DNSMOS P.835 speech quality, 1–5", pa.float32(), default=None)
    dnsmos_bak: float | None = column("DNSMOS P.835 background quality, 1–5", pa.float32(), default=None)
    snr_db: float | None = column("signal-to-noise ratio", pa.float32(), unit="dB", default=None)
    bandwidth_hz: float | None = column("highest frequency that carries energy", pa.float32(), unit="Hz", default=None)
    clipping: float | None = column("share of samples at full scale", pa.float32(), default=None)
    loudness_lufs: float | None = column("integrated loudness, ITU-R BS.1770", pa.float32(), unit="LUFS", default=None)

    def check(self) -> Self:
        require(
            self.key == sample_key(self.recording, self.start_ms, self.end_ms),
            f"key {self.key} does not name its own times",
        )
        require(0 <= self.start_ms < self.end_ms, f"{self.key}: start must lie before end")
        require(self.duration_ms == self.end_ms - self.start_ms, f"{self.key}: duration is not end − start")
        return self


@dataclass(frozen=True, kw_only=True)
class UnitRow(SegmentRow):
    """A segment in the file of its unit, before its speaker is known: everything that packing needs."""

    voice: str | None = column("voice within the unit; null where no single voice is heard", pa.string(), default=None)
    phones: str | None = column("IPA phones separated by blanks, words by ' | '", pa.string(), default=None)
    phone_ids: list[int] = column("phones as ids of the release's phone set", pa.list_(pa.int16()))
    words: list[dict[str, object]] | None = column(
        "words with times in the recording, if asked for", pa.list_(_WORD), default=None
    )
    frames: int = column("codec frames, 75 per second; 0 if rejected", pa.int32())
    codes: bytes | None = column("codes int16 [8, frames], row by row", pa.binary(), default=None)
    flac: bytes | None = column("24 kHz FLAC, if kept", pa.binary(), default=None)
    rejected_by: str | None = column("stage that rejected it", pa.string(), default=None)
    reasons: list[str] = column("reason codes; none if accepted", pa.list_(pa.string()))


@dataclass(frozen=True, kw_only=True)
class SampleRow(SegmentRow):
    """An accepted segment: its text, its phones, and the bytes of its members in a shard."""

    VERSION: ClassVar[int] = 3

    split: str = column("train, valid or test; a speaker is in exactly one", pa.string())
    license: str | None = column("license of the recording, SPDX identifier", pa.string(), default=None)
    consent_basis: str | None = column("why the speaker's voice may be used", pa.string(), default=None)
    phones: str = column("IPA phones separated by blanks, words by ' | '", pa.string())
    phone_ids: list[int] = column("phones as ids of the release's phone set", pa.list_(pa.int16()))
    words: list[dict[str, object]] | None = column(
        "words with times in the recording, if asked for", pa.list_(_WORD), default=None
    )
    frames: int = column("codec frames, 75 per second", pa.int32())
    shard: str = column("tar that holds the sample, path below the corpus", pa.string())
    codes_offset: int = column("first byte of `<key>.codes.npy` in the shard", pa.int64(), unit="bytes")
    codes_bytes: int = column("length of `<key>.codes.npy`", pa.int64(), unit="bytes")
    codes_crc32: int = column("CRC-32 of `<key>.codes.npy` (zlib's), for readers of a bucket", pa.uint32())
    json_offset: int = column("first byte of `<key>.json` in the shard", pa.int64(), unit="bytes")
    json_bytes: int = column("length of `<key>.json`", pa.int64(), unit="bytes")
    flac_offset: int | None = column("first byte of `<key>.flac`, if kept", pa.int64(), unit="bytes", default=None)
    flac_bytes: int | None = column("length of `<key>.flac`, if kept", pa.int64(), unit="bytes", default=None)

    def check(self) -> Self:
        super().check()
        require(self.split in SPLITS, f"{self.key}: split {self.split!r} is none of {SPLITS}")
        require(
            abs(self.frames * FRAME_MS - self.duration_ms) <= FRAME_MS,
            f"{self.key}: {self.frames} frames in {self.duration_ms} ms",
        )
        require(
            bool(self.speaker) and bool(self.text) and bool(self.phone_ids),
            f"{self.key}: a sample needs speaker, text and phones",
        )
        return self


@dataclass(frozen=True, kw_only=True)
class RejectedRow(SegmentRow):
    """A segment that was not taken, with every reason and every score it got."""

    rejected_by: str = column("stage that rejected it", pa.string())
    reasons: list[str] = column("reason codes, all that apply", pa.list_(pa.string()))

    def check(self) -> Self:
        super().check()
        require(bool(self.reasons), f"{self.key}: a rejection needs a reason")
        return self


@dataclass(frozen=True, kw_only=True)
class RecordingRow(Recording):
    """A listed recording and what became of it: done, with its time accounted for, or quarantined, with the remedy."""

    status: str = column("done or quarantined", pa.string())
    sha256: str | None = column("hash of the file", pa.string(), default=None)
    bytes: int | None = column("size of the file", pa.int64(), unit="bytes", default=None)
    format: str | None = column("container format", pa.string(), default=None)
    sample_rate: int | None = column("sample rate of the file", pa.int32(), unit="Hz", default=None)
    channels: int | None = column("channels of the file", pa.int32(), default=None)
    frames: int | None = column("samples per channel that decoding the file yields", pa.int64(), default=None)
    duration_ms: int | None = column("duration", pa.int64(), unit="ms", default=None)
    decoder: str | None = column("library that decodes its windows", pa.string(), default=None)
    etag: str | None = column("version of the bucket's object that was read", pa.string(), default=None)
    accepted_ms: int = column("time in samples", pa.int64(), unit="ms", default=0)
    rejected_ms: int = column("time in rejected segments", pa.int64(), unit="ms", default=0)
    non_speech_ms: int = column("time outside any segment", pa.int64(), unit="ms", default=0)
    samples: int = column("number of samples", pa.int64(), default=0)
    rejections: int = column("number of rejected segments", pa.int64(), default=0)
    voices: int = column("number of different voices heard", pa.int32(), default=0)
    units: list[str] = column("names of its units of work, in order", pa.list_(pa.string()))
    stage: str | None = column("stage that quarantined it", pa.string(), default=None)
    reason: str | None = column("reason code of the quarantine", pa.string(), default=None)
    error: str | None = column("exception class and message", pa.string(), default=None)
    remedy: str | None = column("what the owner of the data can do", pa.string(), default=None)

    def check(self) -> Self:
        super().check()
        require(self.status in ("done", "quarantined"), f"{self.recording}: status {self.status!r}")
        if self.status == "done":
            total = self.accepted_ms + self.rejected_ms + self.non_speech_ms
            require(
                self.duration_ms is not None and abs(total - self.duration_ms) <= FRAME_MS,
                f"{self.recording}: accepted + rejected + non-speech is {total} ms of {self.duration_ms} ms",
            )
        else:
            require(
                bool(self.reason and self.stage and self.remedy),
                f"{self.recording}: a quarantine needs stage, reason and remedy",
            )
        return self


@dataclass(frozen=True, kw_only=True)
class ShardRow:
    """A tar of samples."""

    VERSION: ClassVar[int] = 1

    shard: str = column("path below the corpus", pa.string())
    split: str = column("train, valid or test", pa.string())
    sha256: str = column("hash of the tar", pa.string())
    bytes: int = column("size of the tar", pa.int64(), unit="bytes")
    samples: int = column("number of samples", pa.int64())
    frames: int = column("codec frames in all", pa.int64())
    duration_ms: int = column("speech in all", pa.int64(), unit="ms")
    first_key: str = column("first key", pa.string())
    last_key: str = column("last key", pa.string())

    def check(self) -> Self:
        require(self.split in SPLITS, f"{self.shard}: split {self.split!r} is none of {SPLITS}")
        require(self.samples > 0, f"{self.shard} is empty")
        return self
