"""The models begin with the vectors of the codec whose codes they learn, and go with no other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxbeam.commands.train import corpus_codec
from voxbeam.models import checkpoint
from voxbeam.models.codec import Codec, CodecConfig, build_codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.valle import SMALL, as_tables
from voxbeam.trainer.data.stream import Stream
from voxbeam.trainer.training import Fit

from tests.pipeline.factories import member, release_of
from tests.trainer.factories import CONFIG, MODEL, made_steps


def small_codec(sha256: str = "a" * 64) -> Codec:
    model = build_codec(CodecConfig(n_filters=2, lstm_layers=0, dimension=16, codebook_size=MODEL.codebook_size))
    torch.manual_seed(0)
    for number, layer in enumerate(model.quantizer.vq.layers):
        layer._codebook.embed.normal_(0, 1 / (1 + number))
    return Codec(model, sha256)


@pytest.mark.parametrize("width", [64, 128])
def test_tables_keep_what_sounds_alike(width: int) -> None:
    """In models at least as wide as the codec, all distances within a book but for one common factor."""
    books_KVC = torch.randn(8, 50, 64) * torch.arange(8, 0, -1)[:, None, None] + 3
    tables_KVD = as_tables(books_KVC, width)
    assert tables_KVD.shape == (8, 50, width) and tables_KVD.std() == pytest.approx(SMALL)
    factor = torch.cdist(tables_KVD, tables_KVD).sum() / torch.cdist(books_KVC, books_KVC).sum()
    torch.testing.assert_close(
        torch.cdist(tables_KVD, tables_KVD), factor * torch.cdist(books_KVC, books_KVC), atol=1e-3, rtol=1e-3
    )


def test_narrower_models_keep_the_sizes_of_books() -> None:
    sizes = as_tables(torch.randn(8, 500, 64) * torch.arange(8, 0, -1)[:, None, None], 16).std((1, 2))
    torch.testing.assert_close(sizes / sizes[-1], torch.arange(8.0, 0, -1), rtol=0.1, atol=0)


def begun(folder: Path, codec: Codec | None, steps: int = 1) -> Fit:
    return Fit(replace(CONFIG, steps=steps, warmup_steps=1), MODEL.n_phones, made_steps, None, str(folder), codec=codec)


def test_a_run_begins_with_the_codec(tmp_path: Path) -> None:
    codec = small_codec()
    ar, nar = begun(tmp_path, codec).learners
    tables_KVD = as_tables(codec.books_KVC, CONFIG.transformer.d_model)
    assert torch.equal(nar.parameters["tables_KVD"], tables_KVD) and torch.equal(nar.average["tables_KVD"], tables_KVD)
    assert torch.equal(
        ar.parameters["codes.weight"][: MODEL.codebook_size], as_tables(codec.books_KVC[:1], CONFIG.transformer.d_model)[0]
    )


def test_a_run_goes_with_its_own_codec_only(tmp_path: Path) -> None:
    begun(tmp_path, small_codec()).run()
    load_models(str(tmp_path), codec=small_codec())
    with pytest.raises(
        checkpoint.CheckpointError, match=r"learned the codes of a codec with sha256 a{64}, not of b{64}: .*--codec"
    ):
        load_models(str(tmp_path), codec=small_codec("b" * 64))
    with pytest.raises(checkpoint.CheckpointError, match="learned the codes"):
        begun(tmp_path, small_codec("b" * 64), steps=2).run()


def test_a_corpus_goes_with_its_own_codec_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    store = release_of(tmp_path / "corpus", {"train": [member()]})
    with pytest.raises(ValueError, match=r"was made with a codec of sha256 1{64}, and embedded has .*--codec"):
        corpus_codec("embedded", Stream(store.root))
