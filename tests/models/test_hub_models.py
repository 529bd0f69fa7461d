"""Models by the name that a hub gives them: known by their bytes, in the hub's own cache as a download leaves it."""

from pathlib import Path

import pytest

from voxbeam.models.hub_models import openai_whisper_hash, pyannote_files, pyannote_hash, whisper_files, whisper_hash
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ModelError

COMMIT = "0" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(hub: Path, name: str, **files: str) -> Path:
    """Files of a repository, with `_` for the dot of their names."""
    repository = hub / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for file, content in files.items():
        (folder / file[::-1].replace("_", ".", 1)[::-1]).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("name", "repository"), [("ann/whisper-x", "ann/whisper-x"), ("large-v3", "Systran/faster-whisper-large-v3")]
)
def test_other_weights_under_the_same_name_are_another_model(hub: Path, name: str, repository: str) -> None:
    folder = put(hub, repository, model_bin="one", config_json="{}", README_md="read me")
    assert whisper_files(name) == folder
    first = whisper_hash(name)
    (folder / "README.md").write_text("read me twice")
    assert whisper_hash(name) == first, "nobody loads it"
    config = CorpusConfig.model_validate({"transcribe": {"model": name, "language_model": None}})
    assert model_hashes(config)["transcribe"] == first
    (folder / "model.bin").write_text("two")
    assert whisper_hash(name) != first


def test_what_is_not_there_stops_the_build_at_the_door(hub: Path) -> None:
    put(hub, "ann/half", config_json="{}")
    for name in ("ann/half", "ann/nothing", "no-size"):
        with pytest.raises(ModelError, match="fetch it elsewhere"):
            model_hashes(CorpusConfig.model_validate({"transcribe": {"model": name, "language_model": None}}))


def test_a_pipeline_is_known_by_the_models_that_it_names_too(hub: Path, tmp_path: Path) -> None:
    config = "pipeline: {params: {segmentation: ann/seg, embedding: ann/emb, plda: $model/plda}}"
    folder = put(hub, "ann/diarize", config_yaml=config)
    parts = [put(hub, name, pytorch_model_bin="one", config_yaml="x: 1") for name in ("ann/seg", "ann/emb")]
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "config.yaml").write_text(config)
    assert pyannote_files("ann/diarize") == folder
    names = ("ann/diarize", str(tmp_path / "local"))
    before = [pyannote_hash(name) for name in names]
    (parts[1] / "pytorch_model.bin").write_text("two")
    after = [pyannote_hash(name) for name in names]
    assert all(a != b for a, b in zip(before, after, strict=True))
    (folder / "config.yaml").write_text(config + "\n# other")
    assert pyannote_hash("ann/diarize") != after[0]


def test_names_of_openai_whisper_stand_for_their_published_hash() -> None:
    assert len(openai_whisper_hash("tiny.en")) == 64 and openai_whisper_hash("tiny.en") != openai_whisper_hash("tiny")
    with pytest.raises(FileNotFoundError, match="has none of this name"):
        openai_whisper_hash("tinny")
