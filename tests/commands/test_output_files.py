"""What reads a corpus writes nothing into it."""

from pathlib import Path

import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main

from tests.pipeline.factories import small_release


@pytest.mark.parametrize(
    "words",
    [
        ["diff", "CORPUS", "1", "1", "--parquet", "HEADER"],
        ["report", "CORPUS", "--clips", "0", "--out", "HEADER"],
        ["show", "CORPUS", "r", "--wav", "HEADER"],
        ["evaluate", "duplicates", "CORPUS", "--overlay", "NEW"],
        ["evaluate", "corpus", "CORPUS", "--truth", "TRUTH", "--out", "FOLDER"],
    ],
)
def test_no_file_of_a_corpus_is_written_over(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus"
    small_release(corpus)
    (tmp_path / "truth.rttm").write_text("SPEAKER r 1 0.0 2.0 <NA> <NA> a <NA> <NA>\n")
    (tmp_path / "link").symlink_to(corpus / "releases")
    header = corpus / "releases" / "000001.json"
    places = {
        "CORPUS": corpus, "HEADER": tmp_path / "link" / header.name, "NEW": corpus / "units" / "copies.jsonl",
        "TRUTH": tmp_path / "truth.rttm", "FOLDER": corpus / "releases",
    }  # fmt: skip
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    assert main([str(places.get(word, word)) for word in words]) == UNUSABLE
    assert "is inside the corpus" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        ["diff", "CORPUS", "1", "1", "--parquet", "NOWHERE"],
        ["report", "CORPUS", "--clips", "0", "--out", "NOWHERE"],
        ["evaluate", "duplicates", "CORPUS", "--overlay", "NOWHERE"],
        ["export", "CORPUS", "--format", "nemo", "--audio", "refer", "--out", "NOWHERE"],
    ],
)
def test_a_place_that_cannot_be_written_is_named_with_a_remedy(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_release(tmp_path / "corpus")
    (tmp_path / "file").write_text("no folder")
    places = {"CORPUS": tmp_path / "corpus", "NOWHERE": tmp_path / "file" / "written"}
    assert main([str(places.get(word, word)) for word in words]) == UNUSABLE
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told and "Remedy: " in told
