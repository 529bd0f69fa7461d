"""Resolve: names of models become local paths and hashes."""

import hashlib
from pathlib import Path

import pytest

from voxbeam.storage import cache as resolve
from voxbeam.storage.cache import cache_folder, download, model_hash, resolve_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cache_is_where_the_environment_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("VOXBEAM_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "voxbeam"


def test_hash_of_a_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    assert model_hash(str(tmp_path / "w.bin")) == hashlib.sha256(b"weights").hexdigest()
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_bytes(b"1")
    first = model_hash(str(folder))
    assert first == model_hash(str(folder)) and len(first) == 64
    (folder / "sub" / "a").rename(folder / "sub" / "b")
    assert model_hash(str(folder)) != first
    with pytest.raises(FileNotFoundError, match="no model at org/some-model"):
        model_hash("org/some-model")


def test_model_of_a_bucket_is_copied_once_and_whole(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for the bucket: all that differs is how its address is written."""
    bucket = tmp_path / "bucket"
    (bucket / "model" / "sub").mkdir(parents=True)
    (bucket / "model" / "config.json").write_text("{}")
    (bucket / "model" / "sub" / "w.bin").write_bytes(b"w")
    (bucket / "one.bin").write_bytes(b"1")
    monkeypatch.setattr(resolve, "is_bucket", lambda name: name.startswith(str(bucket)))
    model = resolve_model(f"{bucket}/model/")
    assert model.name == "model" and model.is_relative_to(cache)
    assert {str(f.relative_to(model)) for f in model.rglob("*") if f.is_file()} == {"config.json", "sub/w.bin"}
    assert resolve_model(f"{bucket}/one.bin").read_bytes() == b"1"
    (bucket / "one.bin").write_bytes(b"2")
    assert resolve_model(f"{bucket}/one.bin").read_bytes() == b"1"


def test_downloaded_file_is_kept(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "w.th").write_bytes(b"w")
    url = (tmp_path / "w.th").as_uri()
    assert download(url).read_bytes() == b"w"
    (tmp_path / "w.th").unlink()
    assert download(url).read_bytes() == b"w"


def test_failed_download_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(OSError, match="cannot download"):
        download((tmp_path / "nowhere.th").as_uri())
    assert not list(cache.iterdir())
