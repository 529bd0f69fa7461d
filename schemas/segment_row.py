"""Segment row: what the tables of samples, of rejected segments and of units have in common."""

from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import column, require
from voxbeam.schemas.sample_keys import sample_key


@dataclass(frozen=True, kw_only=True)
class SegmentRow:
    """A segment, accepted or rejected. Values of stages that it did not reach are null."""

    VERSION: ClassVar[int] = 7
    OLDEST: ClassVar[int] = 5

    key: str = column(
        pa.string(), "`<recording>_<start_ms>_<end_ms>`, unique in a release; with `_c<channel>` if the channel is a track"
    )
    recording: str = column(pa.string(), "identifier of the recording")
    unit: str = column(pa.string(), "name of the unit that it is from")
    channel: int | None = column(pa.int32(), "channel that it is from, if each is a track of its own", default=None)
    speaker: str | None = column(pa.string(), "speaker; null if there is no single one", default=None)
    start_ms: int = column(pa.int64(), "start in the recording", unit="ms")
    end_ms: int = column(pa.int64(), "end in the recording", unit="ms")
    duration_ms: int = column(pa.int64(), "end − start", unit="ms")
    text: str | None = column(pa.string(), "transcript", default=None)
    language: str | None = column(pa.string(), "detected language, ISO 639-1", default=None)
    language_probability: float | None = column(pa.float32(), "probability of that language", default=None)
    avg_logprob: float | None = column(pa.float32(), "mean log-probability of the transcript's tokens", default=None)
    no_speech_prob: float | None = column(pa.float32(), "Whisper's probability of no speech", default=None)
    compression_ratio: float | None = column(
        pa.float32(), "length of the text / its compressed length; high for repetitive text", default=None
    )
    temperature: float | None = column(pa.float32(), "sampling temperature of the accepted hypothesis; 0 is greedy", default=None)
    used_fallback: bool | None = column(
        pa.bool_(), "the first hypothesis was suspect, and the segment was decoded again alone", default=None
    )
    chars_per_second: float | None = column(pa.float32(), "letters and digits of the text per second", unit="1/s", default=None)
    reference_wer: float | None = column(
        pa.float32(),
        "word error rate of the text against its stretch of the recording's listed text; above 1 if more is heard",
        default=None,
    )
    second_wer: float | None = column(
        pa.float32(), "share of words in which a second recognizer differs; null where it was not asked", default=None
    )
    second_repeats: int | None = column(
        pa.int32(),
        "words repeated in a row, by the second recognizer minus by the text; null where it was not asked",
        default=None,
    )
    speech_ratio: float = column(pa.float32(), "fraction of the segment in which the diarizer finds its speaker")
    dnsmos_ovrl: float | None = column(pa.float32(), "DNSMOS P.835 overall quality, 1–5", default=None)
    dnsmos_sig: float | None = column(pa.float32(), "DNSMOS P.835 speech quality, 1–5", default=None)
    dnsmos_bak: float | None = column(pa.float32(), "DNSMOS P.835 background quality, 1–5", default=None)
    dnsmos_windows: int | None = column(
        pa.int32(), "windows of 9 s that the DNSMOS scores are the mean of (score.dnsmos_near)", default=None
    )
    snr_db: float | None = column(pa.float32(), "signal-to-noise ratio", unit="dB", default=None)
    bandwidth_hz: float | None = column(pa.float32(), "highest frequency with speech energy", unit="Hz", default=None)
    clipping: float | None = column(pa.float32(), "fraction of samples at full scale", default=None)
    loudness_lufs: float | None = column(pa.float32(), "integrated loudness, ITU-R BS.1770", unit="LUFS", default=None)
    voice_distance: float | None = column(
        pa.float32(), "largest cosine distance between 1.2 s of the segment and its speaker's voice, 0–2", default=None
    )
    second_voice: float | None = column(
        pa.float32(), "highest probability that anyone but the speaker is heard, mean over 120 ms", default=None
    )
    dropouts: float | None = column(
        pa.float32(), "fraction of the time lost to gaps in the middle of sound, repeated packets and loops", default=None
    )
    background_tonality: float | None = column(
        pa.float32(), "how steady the lines in the spectrum of the pauses are, −1–1; high for music and hum", default=None
    )
    edge_jump: float | None = column(
        pa.float32(),
        "share of the range of levels that the sound jumps within 3 ms where it begins or ends; null where that range is small",
        default=None,
    )
    spectral_pace: float | None = column(
        pa.float32(), "how much of the spectrum's change in 120 ms happens within 20 ms; higher for faster speech", default=None
    )
    codec_trace: float | None = column(
        pa.float32(),
        "log-likelihood ratio that the sound passed through the embedded codec, as all speech of voxbeam's models does; above 0, "
        "it likely did; null where it was not asked (score.codec_trace) and for less than 1.5 s of speech",
        default=None,
    )

    def check(self) -> Self:
        require(
            self.key == sample_key(self.recording, self.start_ms, self.end_ms, self.channel),
            f"the key {self.key} does not match the row's recording, start and end",
        )
        require(0 <= self.start_ms < self.end_ms, f"{self.key}: start is not before end")
        require(self.duration_ms == self.end_ms - self.start_ms, f"{self.key}: duration is not end − start")
        return self
