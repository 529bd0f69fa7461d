"""Configuration: what is wrong is named by its path, what is printed reads back, and the fingerprint knows what matters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.config_text import commented_yaml
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.fingerprint import fingerprint

_NOT_IN_FINGERPRINT = {
    "link_speakers.threshold",
    *(f"filter.{key}" for key, _ in CorpusConfig().filter),
    *(f"purity.{key}" for key, _ in CorpusConfig().purity),
    *(f"exclude.{key}" for key, _ in CorpusConfig().exclude),
    *(f"corrections.{key}" for key, _ in CorpusConfig().corrections),
    "overlays",
    *(f"identify.{key}" for key, _ in CorpusConfig().identify),
    "pack.max_shard_mb",
    "pack.target_shard_mb",
    "pack.valid_fraction",
    "pack.test_fraction",
    "decode.timeout_s",
    "decode.memory_mb",
    "listing.speaker_path",
    "listing.language",
    "listing.license",
    "listing.consent_basis",
    "listing.max_rows",
    "listing.keep_columns",
}


def keys() -> Iterator[tuple[str, Any]]:
    for name, value in CorpusConfig():
        if isinstance(value, BaseModel):
            yield from ((f"{name}.{key}", inner) for key, inner in value)
        else:
            yield name, value


def other(key: str, value: Any) -> Any:
    """Another value that the key may have."""
    special = {
        "device": "cuda",
        "transcribe.engine": "openai-whisper",
        "transcribe.padding_s": 12.0,
        "transcribe.second_for": "all",
        "listing.speaker_path": "x/{speaker}",
        "listing.language": "de",
        "identify.min_similarity": 0.5,
        "identify.min_named_similarity": 0.5,
        "score.dnsmos_near": None,
        "codecs": {"one": {}},
    }
    if key in special:
        return special[key]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.99 if value > 0 else value - 0.01
        case dict():
            return {"one": "more"}
        case tuple():
            return (*value, "one more")
        case _:
            return "another"


def changed(key: str, value: Any) -> CorpusConfig:
    section, _, name = key.partition(".")
    return CorpusConfig.model_validate({section: {name: value}} if name else {key: value})


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "corpus.yaml").write_text(text)
    return tmp_path / "corpus.yaml"


def test_nothing_and_empty_file_are_the_defaults(tmp_path: Path) -> None:
    assert CorpusConfig.from_yaml(write(tmp_path, "# nothing\n")) == CorpusConfig()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("filter: {min_dnsmos: 3}", "filter.min_dnsmos"),
        ("jugde: {}", "jugde"),
        ("decode: {window_s: soon}", "decode.window_s"),
        ("decode: {max_channels: 0}", "decode.max_channels"),
        ("transcribe: {engine: siri}", "transcribe.engine"),
        ("listing: {language: klingonese}", "listing.language"),
        ("pack: 3", "pack"),
    ],
)
def test_wrong_key_is_named_by_its_path(text: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"(?m)^  {path}: "):
        CorpusConfig.from_yaml(write(tmp_path, text))


def test_bounds_in_the_wrong_order_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the lower of the two comes first"):
        CorpusConfig.from_yaml(write(tmp_path, "score: {dnsmos_near: [2.6, 1.8]}"))


def test_every_wrong_key_is_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        CorpusConfig.from_yaml(write(tmp_path, "segment: {min: 1, max: 2}\nscore: {x: 1}"))
    assert all(path in str(caught.value) for path in ("segment.min", "segment.max", "score.x"))


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "just words"])
def test_not_a_configuration(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        CorpusConfig.from_yaml(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        CorpusConfig.from_yaml(tmp_path / "nowhere.yaml")


def test_printed_configuration_reads_back(tmp_path: Path) -> None:
    text = commented_yaml(CorpusConfig())
    assert CorpusConfig.from_yaml(write(tmp_path, text)) == CorpusConfig()
    assert all(f"{key.rsplit('.', 1)[-1]}: " in text for key, _ in keys())


@settings(max_examples=50, deadline=None)
@given(
    phrases=st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=0xFFF, exclude_categories=("Cc", "Cs")))),
    threshold=st.none() | st.floats(-1e6, 0),
)
def test_any_values_read_back(phrases: list[str], threshold: float | None, tmp_path_factory: Any) -> None:
    config = CorpusConfig.model_validate({"filter": {"hallucinated_phrases": phrases, "min_avg_logprob": threshold}})
    assert CorpusConfig.from_yaml(write(tmp_path_factory.mktemp("c"), commented_yaml(config))) == config


@pytest.mark.parametrize(("key", "value"), list(keys()), ids=[key for key, _ in keys()])
def test_fingerprint_changes_with_what_matters_only(key: str, value: Any) -> None:
    same = fingerprint(CorpusConfig(), {}, 1) == fingerprint(changed(key, other(key, value)), {}, 1)
    assert same == (key in _NOT_IN_FINGERPRINT)


def test_fingerprint_changes_with_models_and_code() -> None:
    marks = {fingerprint(CorpusConfig(), models, code) for models in ({}, {"a": "1"}, {"a": "2"}) for code in (1, 2)}
    assert len(marks) == 6


def test_further_codecs_are_named_and_in_order() -> None:
    config = CorpusConfig.model_validate({"codecs": {"b": {"codec": "x"}, "a": {}}})
    assert list(config.codecs) == ["a", "b"] and list(config.model_dump(mode="json")["codecs"]) == ["a", "b"]
    assert CorpusConfig.model_validate(config.model_dump(mode="json")) == config
    assert "codecs" not in CorpusConfig().model_dump(mode="json"), "a release without them states what it always did"
    for codecs, message in (({"A.b": {}}, "cannot name a codec"), ({"a": {"codec": " "}}, r"codecs\.a\.codec is empty")):
        with pytest.raises(ValidationError, match=message):
            CorpusConfig.model_validate({"codecs": codecs})
