"""A small release against a truth whose figures were computed by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.corpus import Corpus
from voxbeam.evaluation.corpus_errors import ABOUT, evaluate_corpus
from voxbeam.evaluation.truth import read_truth
from voxbeam.models.phones import open_phonemizer
from voxbeam.schemas.errors import TruthError

from tests.pipeline.factories import small_release

TEXTS = {"r": ["one two three", "four five", "six heaven"], "q": ["", ""]}
TURNS = {
    "r": [
        ["ann", 0, 2, "one two three"],
        ["ann", 3, 4, "four"],
        ["bob", 4.5, 5, "five"],
        ["ann", 7, 9, "six seven"],
        ["bob", 9.5, 11.9, "eight"],
    ]
}
WORDS = """\
r 1 0.0 0.5 one
r 1 0.5 0.7 two
r 1 1.4 0.9 three
r 1 3.0 1.0 four
r 1 4.5 0.5 five
r 1 7.0 1.0 six
r 1 8.0 1.0 seven
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    phonemizer = open_phonemizer("en-us")

    def texts(rows):
        said = [TEXTS["r"][number] if row.recording == "r" else "hello" for number, row in enumerate(rows)]
        return [
            replace(row, text=text, phones=phones)
            for row, text, phones in zip(rows, said, phonemizer.phonemize(said), strict=True)
        ]

    small_release(folder, tables={"samples": texts})
    return folder


@pytest.fixture
def truth(tmp_path) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TURNS))
    return path


def values(corpus, *paths, **options):
    result = evaluate_corpus(Corpus(str(corpus)), read_truth(paths), codec_samples=0, **options)
    return {row["measure"]: row["value"] for row in result.document()["measures"]}, result


def test_figures_computed_by_hand(corpus, truth):
    found, result = values(corpus, truth, collar_s=0)
    speech = 2 + 1 + 0.5 + 2 + 2.4
    assert found["der_missed"] == pytest.approx(2.4 / speech)  # bob's last turn lies in a segment without a speaker
    assert found["der_false_alarm"] == pytest.approx(0.5 / speech)  # 4.0 to 4.5 s
    assert found["der_confusion"] == pytest.approx(0.5 / speech)  # bob in ann's sample
    assert found["der"] == pytest.approx(3.4 / speech)
    assert found["impure"] == pytest.approx(2 / 6)
    assert found["kept"] == pytest.approx(4 / 6.4)
    assert found["split_persons"] == 0
    assert found["wer"] == pytest.approx(1 / 7)
    assert found["cer"] == pytest.approx(2 / 31)  # seven, heaven
    assert found["words_compared"] == 1
    assert 0 < found["phone_errors"] < 0.15
    assert found["cut_words"] is None and found["codec_wer"] is None
    assert [row["impure"] for row in result.samples] == [False, True, False]
    assert [row["word_errors"] for row in result.samples] == [0, 0, 1]
    assert result.match.without_truth == ["q"] and result.match.not_built == []


def test_times_of_words(corpus, truth, tmp_path):
    ctm = tmp_path / "words.ctm"
    ctm.write_text(WORDS)
    found, result = values(corpus, truth, ctm)
    assert found["cut_words"] == pytest.approx(1 / 7)  # "three" ends 0.3 s behind the first sample
    assert found["wer"] == pytest.approx(1 / 7)
    assert [row["cut_words"] for row in result.samples] == [1, 0, 0]


def test_words_of_a_turn_that_is_partly_outside_are_not_compared(corpus, tmp_path):
    path = tmp_path / "t.stm"
    path.write_text("r 1 ann 0.0 2.9 one two three four\nr 1 ann 7.0 9.0 six seven\n")
    found, _ = values(corpus, path)
    assert found["wer"] == pytest.approx((2 + 1) / 2)  # nobody says the two words of the second sample
    assert found["words_compared"] == pytest.approx(4 / 7)


def test_the_collar_forgives_edges(corpus, truth):
    # all edges of the segments are true ones but one, within 0.25 s of which nothing is false
    found, _ = values(corpus, truth, collar_s=0.25)
    assert found["der_false_alarm"] == 0


def test_files_hold_what_the_table_says(corpus, truth, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", "corpus", str(corpus), "--truth", str(truth), "--codec-samples", "0", "--out", str(out), "--collar", "0"]
    assert main([*words, "--json"]) == DONE
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert list(document) == list(FIELDS["evaluate corpus"])
    assert [row["measure"] for row in document["measures"]] == list(ABOUT)
    assert "wer" in printed.err and "14.3 %" in printed.err and "1 recordings without a truth, e.g. q" in printed.err
    assert json.loads((out / "evaluation.json").read_text()) == document
    rows = pq.read_table(out / "measures.parquet").to_pylist()
    assert {"measure": "wer", "recording": "r", "numerator": 1.0, "denominator": 7.0} in rows
    assert pq.read_table(out / "samples.parquet")["true_words"].to_pylist()[2] == "six seven"


def test_planted_defects(corpus, truth, tmp_path, capsys):
    defects = tmp_path / "defects.jsonl"
    rows = [
        {"recording": "r", "kind": "noise", "start_s": 10, "end_s": 11},  # rejected for low_snr
        {"recording": "r", "kind": "noise", "start_s": 5.5, "end_s": 6.5},  # in no segment
        {"recording": "r", "kind": "clipping", "start_s": 7, "end_s": 9},  # accepted
    ]
    defects.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "evaluate",
        "corpus",
        str(corpus),
        "--truth",
        str(truth),
        "--codec-samples",
        "0",
        "--defects",
        str(defects),
        "--json",
    ]
    assert main(words) == DONE
    kinds = {row["kind"]: row for row in json.loads(capsys.readouterr().out)["kinds"]}
    assert (kinds["noise"]["recall"], kinds["noise"]["recall_by_name"], kinds["noise"]["precision"]) == (1, 1, 1)
    assert (kinds["clipping"]["recall"], kinds["clipping"]["precision"]) == (0, None)


def test_a_truth_of_other_recordings_is_an_error(corpus, tmp_path, capsys):
    path = tmp_path / "t.json"
    path.write_text('{"other": [["a", 0, 1]]}')
    with pytest.raises(TruthError, match="names none"):
        values(corpus, path)
    assert main(["evaluate", "corpus", str(corpus), "--truth", str(path)]) == UNUSABLE
    assert "Remedy: name a recording by" in capsys.readouterr().err


def test_what_the_codec_loses_of_a_source_that_is_gone_is_said(corpus, truth):
    result = evaluate_corpus(Corpus(str(corpus)), read_truth([truth]), codec_samples=2)
    assert len(result.unread) == 2
    assert result.ratios["codec_wer"].value is None
