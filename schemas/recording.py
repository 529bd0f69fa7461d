"""Recording: one file of speech as it was listed, and what its bytes turned out to be."""

from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import column, require

KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as listed. Only `recording` and `uri` are always known."""

    VERSION: ClassVar[int] = 2

    recording: str = column("identifier, unique in a corpus, of [A-Za-z0-9_-]", pa.string())
    uri: str = column("where the audio lies: a local path or a s3://, gs://, az:// address", pa.string())
    speaker: str | None = column("speaker named by the listing", pa.string(), default=None)
    language: str | None = column("language named by the listing, ISO 639-1", pa.string(), default=None)
    license: str | None = column("license of the recording, SPDX identifier", pa.string(), default=None)
    consent_basis: str | None = column(
        "why the speaker's voice may be used, e.g. consent, public-domain, license", pa.string(), default=None
    )
    title: str | None = column("book or programme, as the listing names it", pa.string(), default=None)
    source_snr_db: float | None = column("SNR that the listing states (LibriLight)", pa.float32(), unit="dB", default=None)
    text: str | None = column("reference text of the listing", pa.string(), default=None)

    def check(self) -> Self:
        require(
            bool(self.recording) and set(self.recording) <= set(KEY_ALPHABET),
            f"recording id {self.recording!r} may hold only letters, digits, '-' and '_'",
        )
        require(bool(self.uri), f"recording {self.recording} has no uri")
        return self


@dataclass(frozen=True, kw_only=True)
class Source:
    """What probing a recording's bytes found: its identity and the shape of its audio."""

    sha256: str
    bytes: int
    format: str
    sample_rate: int
    channels: int
    frames: int
    """samples per channel that decoding yields"""
    duration_ms: int
    decoder: str
    """library that decodes its windows"""
    etag: str | None = None
    """version of a bucket's object when it was hashed"""
