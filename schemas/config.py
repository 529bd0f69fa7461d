"""The configuration of a corpus: one validated tree, every default with its reason.

`beam_runner.py config` prints it as commented YAML; an unknown key, a wrong type or an impossible value is an error with the
path of the key. The release keeps the effective tree, and everything in it but `pack` goes into the fingerprint of a unit.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxbeam.schemas.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ListingConfig(_Section):
    """How recordings are found and named."""

    speaker_path: str | None = Field(
        None,
        description="template for the speaker in a path below the input, e.g. '{speaker}/*/*'; found by layout when null",
    )
    language: str = Field("en", description="language of recordings whose listing names none, ISO 639-1")
    licence: str | None = Field(None, description="SPDX licence of recordings whose listing names none")
    basis: str | None = Field(None, description="basis on which voices are used where the listing names none")


class DecodeConfig(_Section):
    """Limits within which audio is decoded; whatever exceeds them is quarantined, never guessed at."""

    max_sample_rate: int = Field(96_000, gt=0, description="Hz")
    max_channels: int = Field(2, gt=0, description="more channels are seldom speech to be mixed down; raise it if yours are")
    min_duration_s: float = Field(0.5, ge=0, description="shorter recordings hold no utterance")
    max_duration_s: float = Field(86_400.0, gt=0, description="a day; longer files are usually broken headers")
    window_s: float = Field(1200.0, ge=60, le=3600, description="a longer recording is worked on in windows of this length")
    margin_s: float = Field(15.0, ge=1, le=15, description="how far a window edge may move to fall into a pause")
    timeout_s: float = Field(300.0, gt=0, description="a decoder that takes longer is killed")
    memory_mb: int = Field(4096, gt=256, description="address space of the decoder process")


class DiarizeConfig(_Section):
    """Who speaks when (pyannote.audio SpeakerDiarization). All but `pipeline` and `batch` belong to the embedded one."""

    pipeline: str = Field("embedded", description="'embedded', or a pyannote pipeline by path, bucket or hub name")
    step: float = Field(0.3, gt=0, le=1, description="window step, as a share of the segmentation model's 5 s window")
    batch: int = Field(32, gt=0)
    threshold: float = Field(
        0.28, gt=0, lt=2, description="groups of windows nearer than this (mean cosine distance) are one voice"
    )
    min_cluster_size: int = Field(3, gt=0, le=20, description="voices heard in fewer windows join their nearest neighbour")
    link_threshold: float = Field(
        0.3, gt=0, lt=2, description="voices of two units of a recording nearer than this (cosine distance) are one"
    )


class CutConfig(_Section):
    """Segments: stretches of one voice between pauses."""

    min_s: float = Field(2.0, gt=0)
    max_s: float = Field(30.0, gt=0, le=30, description="what Whisper can hear at once")
    target_min_s: float = Field(10.0, gt=0)
    target_max_s: float = Field(20.0, gt=0)
    min_pause_s: float = Field(0.15, gt=0, description="a cut needs a pause of at least this length")
    max_gap_s: float = Field(1.5, gt=0, description="a longer silence ends a segment")
    pad_s: float = Field(0.25, ge=0, description="silence kept on either side, as far as the pause allows")


class TranscribeConfig(_Section):
    """Pseudo-transcription, and when not to believe it."""

    engine: Literal["faster-whisper", "openai-whisper"] = "faster-whisper"
    model: str = Field("embedded", description="'embedded' (Whisper tiny.en), or a model by path, bucket or hub name")
    language_model: str | None = Field(
        "embedded",
        description="multilingual faster-whisper model that tells the language where `model` cannot; null: none",
    )
    batch: int = Field(8, gt=0)
    padding_s: float = Field(
        7.5, ge=5, le=30, description="silence after a segment; under 5 s Whisper loops, over 10 s only costs time"
    )
    suppress_numerals: bool = Field(True, description="make the recognizer spell numbers out")
    words: bool = Field(False, description="word timestamps, at a cost of about a third of the stage")
    min_avg_logprob: float = Field(-1.0, description="below: decoded again alone, with temperature fallback")
    max_compression_ratio: float = Field(2.4, description="above: decoded again alone, with temperature fallback")


class ScoreConfig(_Section):
    """Acoustic scores."""

    dnsmos_every: int = Field(
        3, ge=1, description="score every n-th of DNSMOS's one-second hops; 1 is exact, 3 errs by 0.015 OVRL"
    )


class JudgeConfig(_Section):
    """What a segment must reach. Null turns a rule off; every rule that fails is listed in `reasons`."""

    min_speech_ratio: float | None = 0.6
    min_dnsmos_ovrl: float | None = Field(2.2, description="read speech has 2.4 to 3.5, noise under 1.9; Emilia asks for 3.0")
    min_snr_db: float | None = 10.0
    min_bandwidth_hz: float | None = Field(3400.0, description="telephone band")
    max_clipping: float | None = Field(0.001, description="share of samples at full scale")
    min_loudness_lufs: float | None = Field(-50.0, description="far-field meetings lie near −45")
    min_language_probability: float | None = 0.5
    min_avg_logprob: float | None = -1.0
    max_no_speech_prob: float | None = 0.6
    max_compression_ratio: float | None = 2.4
    min_chars_per_second: float | None = 4.0
    max_chars_per_second: float | None = 25.0
    max_ngram_repeats: int | None = Field(4, description="the same three words this often in a row are a hallucination")
    min_unique_words: float | None = Field(0.3, description="share of different words, from 10 words on")
    phrases: tuple[str, ...] = Field(
        (
            "thanks for watching",
            "thank you for watching",
            "please subscribe",
            "subscribe to my channel",
            "subtitles by",
            "subtitled by",
            "amara.org",
            "transcription by",
            "copyright",
        ),
        description="phrases that Whisper invents in silence; a segment that is little else is rejected",
    )


class PhonemizeConfig(_Section):
    """Text to phones (phonemizer, espeak-ng)."""

    voice: str = Field("en-us", description="espeak-ng voice; it needs a phone set in assets/phones")


class TokenizeConfig(_Section):
    """Speech to EnCodec tokens."""

    codec: str = Field(
        "embedded", description="'embedded', 'encodec_24khz', a path, a bucket address or a hub's owner/repository/file"
    )
    sha256: str | None = Field(None, description="expected hash of the weights; 'encodec_24khz' has its own")


class PackConfig(_Section):
    """Shards and splits. Not part of the fingerprint: repacking needs no model."""

    max_shard_mb: int = Field(1024, ge=1, description="a shard is closed before it grows beyond this")
    target_shard_mb: int = Field(256, ge=1, description="the number of shards of a release follows from this")
    valid_share: float = Field(0.02, ge=0, le=0.5, description="share of speakers in the valid split")
    test_share: float = Field(0.02, ge=0, le=0.5, description="share of speakers in the test split")
    keep_audio: bool = Field(False, description="put each segment's 24 kHz FLAC beside its codes")


class CorpusConfig(_Section):
    """Everything that shapes a corpus."""

    listing: ListingConfig = ListingConfig()
    decode: DecodeConfig = DecodeConfig()
    diarize: DiarizeConfig = DiarizeConfig()
    cut: CutConfig = CutConfig()
    transcribe: TranscribeConfig = TranscribeConfig()
    score: ScoreConfig = ScoreConfig()
    judge: JudgeConfig = JudgeConfig()
    phonemize: PhonemizeConfig = PhonemizeConfig()
    tokenize: TokenizeConfig = TokenizeConfig()
    pack: PackConfig = PackConfig()
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where models run; results differ in the last digits between the two"
    )


def load_config(path: Path | None) -> CorpusConfig:
    """Reads a YAML configuration; without a path, the defaults. Raises ConfigError with the path of every wrong key."""
    if path is None:
        return CorpusConfig()
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return CorpusConfig.model_validate(tree)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        wrong = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']} (found {e['input']!r})" for e in error.errors()]
        raise ConfigError(
            f"{path} has keys that cannot be used; `beam_runner.py config` lists all keys:\n" + "\n".join(wrong)
        ) from error


def commented_yaml(config: CorpusConfig) -> str:
    """The whole tree as YAML, each key with its description as a comment."""
    lines: list[str] = []
    for name, value in config:
        if isinstance(value, BaseModel):
            lines += ["", f"# {(type(value).__doc__ or '').strip()}", f"{name}:"]
            lines += [_yaml_line(value, key, indent="  ") for key in type(value).model_fields]
        else:
            lines += ["", _yaml_line(config, name, indent="")]
    return "\n".join(lines).lstrip() + "\n"


def _yaml_line(section: BaseModel, key: str, indent: str) -> str:
    value = getattr(section, key)
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    description = type(section).model_fields[key].description
    return f"{indent}{key}: {text}" + (f"  # {description}" if description else "")


_CHANGES_NOTHING: dict[str, Any] = {
    "listing": True,
    "decode": {"timeout_s", "memory_mb"},
    "pack": {"max_shard_mb", "target_shard_mb", "valid_share", "test_share"},
}


def shapes_units(key: str) -> bool:
    """Whether a key of the configuration, such as `cut.max_s`, can change a unit's result; some change only what is packed."""
    section, _, name = key.partition(".")
    excluded = _CHANGES_NOTHING.get(section, set())
    return excluded is not True and name not in excluded


def fingerprint(config: CorpusConfig, models: dict[str, str], code_version: int) -> str:
    """Hash of all that can change a unit's result: most of the configuration, model hashes, code version."""
    tree = config.model_dump(mode="json", exclude=_CHANGES_NOTHING)
    canonical = json.dumps({"config": tree, "models": models, "code": code_version}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
