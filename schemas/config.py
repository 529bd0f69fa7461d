"""The configuration of a corpus: one validated tree of sections, every default with its reason.

`voxbeam config` prints it as commented YAML. An unknown key, a wrong type or an impossible value is an error that gives the
path of the key. A release stores the whole configuration; every key that can change the result of a unit goes into the unit's
fingerprint. The others are policy, which is applied when units are packed.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from voxbeam.schemas.codec_config import Codecs, TokenizeConfig
from voxbeam.schemas.config_file import read_sections, wrong_keys
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.languages import language_code
from voxbeam.schemas.policy_config import CorrectionsConfig, ExcludeConfig
from voxbeam.schemas.section import Section


class ListingConfig(Section):
    """How recordings are found and named. The values apply where the input does not state its own."""

    speaker_path: str | None = Field(
        None,
        description="where a path below the input names the speaker, e.g. '{speaker}/*/*'; null: LibriSpeech file names only",
    )
    language: str = Field("en", description="ISO 639-1 code")
    license: str | None = Field(None, description="SPDX identifier")
    consent_basis: str | None = Field(None, description="why the speakers' voices may be used, e.g. consent or public-domain")
    max_rows: int = Field(
        1_000_000, gt=0, description="a listing with more rows is an error: they are kept in memory, about 1 kB each"
    )
    keep_columns: tuple[str, ...] = Field((), description="further columns of a listing that go into `extra` of `recordings`")

    @field_validator("language")
    @classmethod
    def _check_language(cls, text: str) -> str:
        return language_code(text)


class DecodeConfig(Section):
    """Limits for audio files. A recording outside of them is quarantined."""

    max_sample_rate: int = Field(96_000, gt=0, description="Hz")
    max_channels: int = Field(2, gt=0, description="files with more are rarely one scene that can be mixed to mono")
    min_duration_s: float = Field(0.5, ge=0, description="a shorter recording contains no utterance")
    max_duration_s: float = Field(86_400.0, gt=0, description="one day; a longer duration usually means a broken header")
    window_s: float = Field(1200.0, ge=60, le=3600, description="a longer recording is processed in windows of this length")
    margin_s: float = Field(15.0, ge=1, le=15, description="how far a window edge may move to reach a pause")
    timeout_s: float = Field(300.0, gt=0, description="a decoder process that takes longer is killed")
    memory_mb: int = Field(4096, gt=256, description="address space of a decoder process")


class DiarizeConfig(Section):
    """Who speaks when, and where a second voice is heard."""

    pipeline: str = Field(
        "embedded",
        description="'embedded', or a pyannote pipeline that replaces its segmentation and clustering: a path, bucket address or "
        "hub name",
    )
    batch: int = Field(32, gt=0, description="windows per forward pass; halved while memory runs out")
    threshold: float = Field(
        0.22,
        gt=0,
        lt=2,
        description="voices nearer than this (cosine distance of the means of many 1.5 s pieces) are one speaker; of few pieces, "
        "from farther",
    )
    max_second_voice: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="above this probability of a second voice, for 80 ms, the time around is cut; in readings, 0.9 for 160 ms",
    )


class SegmentConfig(Section):
    """Segments: stretches of one speaker, from pause to pause."""

    min_s: float = Field(1.2, gt=0, description="a shorter stretch is rejected (too_short)")
    max_s: float = Field(30.0, gt=0, le=30, description="Whisper's input is at most 30 s")
    target_min_s: float = Field(10.0, gt=0, description="preferred length, from")
    target_max_s: float = Field(20.0, gt=0, description="preferred length, to")
    min_pause_s: float = Field(0.15, gt=0, description="a segment starts and ends in a pause of at least this length")
    max_gap_s: float = Field(1.5, gt=0, description="a longer pause always ends a segment")
    pad_s: float = Field(0.25, ge=0, description="silence kept at either end, if the pause is long enough")


class PurityConfig(Section):
    """Proof that a segment holds one voice. Null turns a rule off; the measures are kept. These limits are policy."""

    max_voice_distance: float | None = Field(
        0.7, gt=0, le=2, description="cosine distance of any 1.2 s of the segment from the voice that it is labelled with"
    )
    max_second_voice: float | None = Field(
        0.9, gt=0, le=1, description="probability that anyone but its speaker is heard, mean over 120 ms, at its highest"
    )


class TranscribeConfig(Section):
    """Transcription by Whisper, and when a transcript is decoded again."""

    engine: Literal["faster-whisper", "openai-whisper"] = "faster-whisper"
    model: str = Field("embedded", description="'embedded' (Whisper tiny.en), or a model: a path, bucket address or hub name")
    language_model: str | None = Field(
        "embedded",
        description="multilingual faster-whisper model that detects the language if `model` is English only; null: no detection",
    )
    second: str | None = Field(
        "embedded",
        description="a second recognizer: 'embedded' (Whisper base), 'moonshine' (English; needs voxbeam[moonshine]), or another "
        "faster-whisper model; null: none",
    )
    second_for: Literal["weak", "all"] = Field(
        "weak",
        description="segments that the second recognizer hears; all of them cost twice what the first costs, eight times with "
        "'moonshine', which alone finds repetitions that Whisper cuts",
    )
    weak_avg_logprob: float = Field(
        -0.6,
        description="a transcript below this is weak, and so is one that repeats a word or was decoded again: the second "
        "recognizer hears it, and its language is detected alone; read speech is above −0.45",
    )
    batch: int = Field(8, gt=0, description="segments per forward pass; halved while memory runs out")
    padding_s: float = Field(
        7.5, ge=5, le=30, description="silence after a segment; below 5 s Whisper repeats itself, above 10 s only costs time"
    )
    suppress_numerals: bool = Field(True, description="have the model spell numbers out")
    word_timestamps: bool = Field(
        True,
        description="times of words, between which training cuts samples and prompts; costs about a third of the stage's time",
    )
    min_avg_logprob: float = Field(-1.0, description="below: decoded again alone, with temperature fallback")
    max_compression_ratio: float = Field(2.4, description="above: decoded again alone, with temperature fallback")


class ScoreConfig(Section):
    """Measures of signal quality."""

    dnsmos_every: int = Field(
        3, ge=1, description="score every n-th of DNSMOS's one-second hops; 1 is exact, 3 is off by 0.015 OVRL on average"
    )
    dnsmos_near: tuple[float, float] | None = Field(
        (1.8, 2.6),
        description="score one window first, and the others only if its OVRL lies between these: around the thresholds that you "
        "mean to try; null: always all",
    )
    codec_trace: bool = Field(
        False,
        description="hear the trace of the embedded codec, which all speech of voxbeam's models has (filter.max_codec_trace)",
    )

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `codec_trace` where it is off: such units are those of before there was such a key."""
        tree: dict[str, Any] = dump(self)
        if not tree.get("codec_trace"):
            tree.pop("codec_trace", None)
        return tree


class PhonemizeConfig(Section):
    """Text to phones (phonemizer, espeak-ng)."""

    voice: str = Field("en-us", description="espeak-ng voice; it needs a phone set in assets/phones")


class LinkSpeakersConfig(Section):
    """Which speakers of two windows of a recording are the same. Not part of the fingerprint: linking runs no model."""

    threshold: float = Field(0.5, gt=0, lt=2, description="speakers nearer than this (cosine distance of embeddings) are one")


class IdentifyConfig(Section):
    """Which voices of all recordings are one person. Not part of the fingerprint: identities run no model."""

    calibration: str | None = Field(
        None,
        description="of another encoder: a path or bucket address (tools/calibrate_identity.py); null: the embedded",
    )
    min_probability: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="voices are joined when they are one person with this probability, among all of a corpus",
    )
    min_similarity: float | None = Field(
        None,
        gt=-1,
        le=1,
        description="join voices of at least this similarity, however many there are; null: by probability",
    )
    min_named_similarity: float | None = Field(
        None, ge=-1, le=1, description="voices of one listed name less similar than this are kept apart; null: as calibrated"
    )


class PackConfig(Section):
    """Shards and splits. Not part of the fingerprint, except `keep_audio`: packing runs no model."""

    max_shard_mb: int = Field(1024, ge=1, description="a shard is closed before it grows beyond this")
    target_shard_mb: int = Field(256, ge=1, description="sets the number of shards of a release")
    valid_fraction: float = Field(0.02, ge=0, le=0.5, description="fraction of identities in the valid split")
    test_fraction: float = Field(0.02, ge=0, le=0.5, description="fraction of identities in the test split")
    keep_audio: bool = Field(False, description="store each segment's 24 kHz FLAC next to its codes")


class CorpusConfig(Section):
    """The configuration of a corpus: sections for the listing, each stage, the policy (from `filter` on) and packing."""

    listing: ListingConfig = ListingConfig()
    decode: DecodeConfig = DecodeConfig()
    diarize: DiarizeConfig = DiarizeConfig()
    segment: SegmentConfig = SegmentConfig()
    purity: PurityConfig = PurityConfig()
    transcribe: TranscribeConfig = TranscribeConfig()
    score: ScoreConfig = ScoreConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    codecs: Codecs = Field(
        {},
        description="further codecs: name → codec and sha256, as in `tokenize`; every sample has their codes too "
        "(`<key>.codes.<name>.npy`)",
    )
    phonemize: PhonemizeConfig = PhonemizeConfig()
    filter: FilterConfig = FilterConfig()
    exclude: ExcludeConfig = ExcludeConfig()
    corrections: CorrectionsConfig = CorrectionsConfig()
    link_speakers: LinkSpeakersConfig = LinkSpeakersConfig()
    identify: IdentifyConfig = IdentifyConfig()
    pack: PackConfig = PackConfig()
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where the models run; results of the two differ in the last digits"
    )
    overlays: tuple[str, ...] = Field(
        (), description="files of further exclusions and corrections, JSON lines, by path or bucket address (docs/policy.md)"
    )

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `codecs` if there are none: such a release states nothing of them."""
        tree: dict[str, Any] = dump(self)
        if not tree.get("codecs"):
            tree.pop("codecs", None)
        return tree

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Values that are possible alone and not together."""
        _require_order("decode", self.decode, "min_duration_s", "max_duration_s")
        _require_order("segment", self.segment, "min_s", "max_s")
        _require_order("segment", self.segment, "target_min_s", "target_max_s")
        _require_order("filter", self.filter, "min_chars_per_second", "max_chars_per_second")
        if both := self.corrections.texts.keys() & self.corrections.rejected.keys():
            raise ValueError(f"corrections give {min(both)} a text and reject it")
        near = self.score.dnsmos_near
        if near is not None and near[0] > near[1]:
            raise ValueError(f"score.dnsmos_near is {list(near)}; the lower of the two comes first")
        fractions = self.pack.valid_fraction + self.pack.test_fraction
        if fractions >= 1:
            raise ValueError(f"pack.valid_fraction and pack.test_fraction sum to {fractions:g}; nothing is left for training")
        for name, section in self:
            if isinstance(section, BaseModel):
                for key, value in section:
                    if isinstance(value, str) and not value.strip():
                        raise ValueError(f"{name}.{key} is empty; leave it out for its default")
        template = self.listing.speaker_path
        if template is not None and template.count("{speaker}") != 1:
            raise ValueError(f"listing.speaker_path is {template!r}; it needs {{speaker}} once")
        return self

    @classmethod
    def from_yaml(cls, uri: str | Path) -> Self:
        """Reads a YAML file, by path or bucket address. Keys that it leaves out have their defaults.

        Raises ConfigError for a file that cannot be read; its message lists every wrong key.
        """
        tree = read_sections(uri)
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            wrong = "".join(f"\n  {line}" for line in wrong_keys(error, cls))
            raise ConfigError(f"{uri} has wrong keys; `voxbeam config` lists all keys:{wrong}") from error


def _require_order(section: str, values: BaseModel, low: str, high: str) -> None:
    """Raises ValueError, naming both keys, if the first is set and over the second."""
    least, most = getattr(values, low), getattr(values, high)
    if least is not None and most is not None and least > most:
        raise ValueError(f"{section}.{low} ({least:g}) is over {section}.{high} ({most:g})")
