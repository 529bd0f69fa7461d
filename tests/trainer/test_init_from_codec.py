"""The models begin with the vectors of the codec whose codes they learn, and go with no other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxbeam.commands.train import corpus_codec
from voxbeam.models.codec import Codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.valle import INIT_STD, codec_embeddings
from voxbeam.schemas.errors import CheckpointError, ModelError
from voxbeam.trainer.data.stream import Stream
from voxbeam.trainer.training import Trainer

from tests.pipeline.factories import member, release_of, small_release
from tests.trainer.factories import CONFIG, MODEL, PHONES, fake_steps


def small_codec(sha256: str = "a" * 64) -> Codec:
    model = build_codec(CodecConfig(n_filters=2, lstm_layers=0, dimension=16, codebook_size=MODEL.codebook_size))
    torch.manual_seed(0)
    for number, layer in enumerate(model.quantizer.vq.layers):
        layer._codebook.embed.normal_(0, 1 / (1 + number))
    return Codec(model, sha256)


@pytest.mark.parametrize("width", [64, 128])
def test_tables_keep_what_sounds_alike(width: int) -> None:
    """In models at least as wide as the codec, all distances within a book but for one common factor."""
    codebooks_KVC = torch.randn(8, 50, 64) * torch.arange(8, 0, -1)[:, None, None] + 3
    embeddings_KVD = codec_embeddings(codebooks_KVC, width)
    assert embeddings_KVD.shape == (8, 50, width) and embeddings_KVD.std() == pytest.approx(INIT_STD)
    factor = torch.cdist(embeddings_KVD, embeddings_KVD).sum() / torch.cdist(codebooks_KVC, codebooks_KVC).sum()
    torch.testing.assert_close(
        torch.cdist(embeddings_KVD, embeddings_KVD), factor * torch.cdist(codebooks_KVC, codebooks_KVC), atol=1e-3, rtol=1e-3
    )


def test_narrower_models_keep_the_sizes_of_books() -> None:
    sizes = codec_embeddings(torch.randn(8, 500, 64) * torch.arange(8, 0, -1)[:, None, None], 16).std((1, 2))
    torch.testing.assert_close(sizes / sizes[-1], torch.arange(8.0, 0, -1), rtol=0.1, atol=0)


def begun(folder: Path, codec: Codec | None, steps: int = 1) -> Trainer:
    return Trainer(replace(CONFIG, steps=steps, warmup_steps=1), PHONES, fake_steps, None, str(folder), codec=codec)


def test_a_run_begins_with_the_codec(tmp_path: Path) -> None:
    codec = small_codec()
    ar, nar = begun(tmp_path, codec).states
    d_model = CONFIG.transformer.d_model
    expected_KVD = codec_embeddings(codec.codebooks_KVC, d_model)
    assert torch.equal(nar.parameters["code_embeddings_KVD"], expected_KVD)
    assert torch.equal(nar.average["code_embeddings_KVD"], expected_KVD)
    ar_embedding_VD = ar.parameters["code_embedding.weight"][: MODEL.codebook_size]
    assert torch.equal(ar_embedding_VD, codec_embeddings(codec.codebooks_KVC[:1], d_model)[0])


def test_a_run_goes_with_its_own_codec_only(tmp_path: Path) -> None:
    begun(tmp_path, small_codec()).train()
    load_models(str(tmp_path), codec=small_codec())
    with pytest.raises(CheckpointError, match=r"trained on the codes of the codec with sha256 a{64}, not b{64}; .*--codec"):
        load_models(str(tmp_path), codec=small_codec("b" * 64))
    with pytest.raises(CheckpointError, match="trained on the codes"):
        begun(tmp_path, small_codec("b" * 64), steps=2).train()


def test_a_corpus_goes_with_its_own_codec_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    store = release_of(tmp_path / "corpus", {"train": [member()]})
    with pytest.raises(ValueError, match=r"was made with a codec of sha256 1{64}, and embedded has .*--codec"):
        corpus_codec("embedded", Stream(store.root))


def test_a_further_codec_is_found_where_its_release_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    small_release(tmp_path / "corpus", codecs=("one",))
    stream = Stream(str(tmp_path / "corpus"), codec="one")
    with pytest.raises(ModelError, match=r"there is no model at /one\.safetensors.*--codec"):
        corpus_codec(None, stream)
    with pytest.raises(ValueError, match=r"sha256 2{64}, and embedded has .*--codec what the build had as codecs\.one\.codec"):
        corpus_codec("embedded", stream)
