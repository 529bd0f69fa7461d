"""Which file a codec's name means, and what it must be, on a full-size file of the published form."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from voxbeam.models import codec_weights as names
from voxbeam.models.codec import EMBEDDED_WEIGHTS, ENCODEC_24KHZ_FILE, ENCODEC_24KHZ_SHA256
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.codec_config import TokenizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.storage import cache as resolve
from voxbeam.transforms.tokenize import load_tokenizer

pin_threads()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A full-size model with random weights and all 32 codebooks, as the published file has them; and its hash."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "weights.th"
    torch.save(build_codec(CodecConfig(n_codebooks=32)).state_dict(), path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def codes_of(config: TokenizeConfig) -> np.ndarray:
    [codes] = load_tokenizer(config, "cpu").encode([np.zeros(3_300, np.float32)])
    return codes


def test_the_embedded_codec_needs_no_name() -> None:
    assert codec_weights("embedded") == (EMBEDDED_WEIGHTS, None)
    assert codes_of(TokenizeConfig()).shape == (8, 11)


def test_a_file_in_a_folder_a_bucket_and_a_hub(
    published: tuple[Path, str], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = published
    assert codes_of(TokenizeConfig(codec=str(path), sha256=digest)).shape == (8, 11)

    # A folder stands for the bucket: all that differs is how its address is written.
    monkeypatch.setattr(resolve, "is_bucket", lambda name: name == str(path))
    copy, _ = codec_weights(str(path))
    assert copy.is_relative_to(cache) and copy.read_bytes() == path.read_bytes()

    # The hub's own cache, as a download leaves it.
    repository = tmp_path / "hub" / "models--someone--codecs"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "weights.th").symlink_to(path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert codec_weights("someone/codecs/weights.th")[0].read_bytes() == path.read_bytes()
    with pytest.raises(OSError, match="fetch it elsewhere and give its path"):
        codec_weights("someone/codecs/other.th")


def test_encodec_24khz_is_fetched_once_and_must_be_the_published_file(
    published: tuple[Path, str], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = tmp_path / ENCODEC_24KHZ_FILE
    web.write_bytes(published[0].read_bytes())
    monkeypatch.setattr(names, "ENCODEC_24KHZ_URL", web.as_uri())
    path, sha256 = codec_weights("encodec_24khz")
    assert path == cache / ENCODEC_24KHZ_FILE and sha256 == ENCODEC_24KHZ_SHA256
    with pytest.raises(ModelError, match=f"not {ENCODEC_24KHZ_SHA256}.*fetch it again"):
        load_tokenizer(TokenizeConfig(codec="encodec_24khz"), "cpu")
    # With the hash that this file has, all that `encodec_24khz` means works.
    assert codes_of(TokenizeConfig(codec="encodec_24khz", sha256=published[1])).shape == (8, 11)


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_truncated_file_is_refused_with_the_remedy(published: tuple[Path, str], tmp_path: Path, share: float) -> None:
    content = published[0].read_bytes()
    path = tmp_path / "cut.th"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match="cut short; fetch it again"):
        load_tokenizer(TokenizeConfig(codec=str(path), sha256=published[1]), "cpu")
    with pytest.raises(ModelError, match=f"a whole copy of {ENCODEC_24KHZ_FILE}"):
        load_tokenizer(TokenizeConfig(codec=str(path)), "cpu")


def test_a_codec_that_is_nowhere_is_named() -> None:
    with pytest.raises(ModelError, match=r"encodec_24khz.*owner/repository/file"):
        codec_weights("encodec")
