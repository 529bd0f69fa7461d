"""References in every format, and what is wrong with one."""

from pathlib import Path

import pytest

from voxbeam.evaluation.truth import TrueTurn, TrueWord, name_of, read_truth
from voxbeam.schemas.errors import TruthError

TEXTGRID = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "ann"
        xmin = 0
        xmax = 2.5
        intervals: size = 2
        intervals [1]:
            xmin = 0.25
            xmax = 1.5
            text = "she said ""yes"""
        intervals [2]:
            xmin = 1.5
            xmax = 2.5
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "words"
        intervals [1]:
            xmin = 0.25
            xmax = 0.5
            text = "she"
    item [3]:
        class = "IntervalTier"
        name = "phones"
        intervals [1]:
            xmin = 0.25
            xmax = 0.3
            text = "SH"
'''


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_turns_of_json_with_and_without_text(tmp_path):
    path = put(tmp_path, "t.json", '{"a": [["bob", 2, 3.5, "hi there"], ["ann", 0.25, 1]]}')
    assert read_truth([path])["a"].turns == [
        TrueTurn(speaker="ann", start_ms=250, end_ms=1000),
        TrueTurn(speaker="bob", start_ms=2000, end_ms=3500, text="hi there"),
    ]


def test_rttm_and_ctm_add_to_each_other(tmp_path):
    rttm = put(
        tmp_path, "t.rttm", "SPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA>\nSPEAKER a 1 0.500 1.500 <NA> <NA> ann <NA> <NA>\n"
    )
    ctm = put(tmp_path, "t.ctm", ";; words\na 1 0.5 0.3 hello\na 1 0.9 0.4 world 0.98\n")
    truth = read_truth([rttm, ctm])["a"]
    assert truth.turns == [TrueTurn(speaker="ann", start_ms=500, end_ms=2000)]
    assert truth.words == [TrueWord(text="hello", start_ms=500, end_ms=800), TrueWord(text="world", start_ms=900, end_ms=1300)]
    assert truth.has_text


def test_stm_and_its_labels(tmp_path):
    lines = "a 1 ann 0.00 2.00 <o,f0,female> good day\na 1 x 2.00 3.00 ignore_time_segment_in_scoring\n"
    assert read_truth([put(tmp_path, "t.stm", lines)])["a"].turns == [
        TrueTurn(speaker="ann", start_ms=0, end_ms=2000, text="good day")
    ]


def test_textgrid_has_turns_and_words_by_tier(tmp_path):
    truth = read_truth([put(tmp_path, "a.TextGrid", TEXTGRID)])["a"]
    assert truth.turns == [TrueTurn(speaker="ann", start_ms=250, end_ms=1500, text='she said "yes"')]
    assert truth.words == [TrueWord(text="she", start_ms=250, end_ms=500)]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.json", '{"a": [["bob", 3, 2]]}', "no stretch of time"),
        ("t.json", '{"a": [["bob", 1, 2, 3]]}', "no text"),
        ("t.json", "{", "damaged"),
        ("t.ctm", "a 1 0.5\n", "line 1 has 3 fields"),
        ("t.stm", "a 1 ann zero 2.0 hi\n", "damaged"),
        ("t.rttm", "\n", "no turn and no word"),
        ("a.TextGrid", "nothing", "no interval tier"),
        ("t.csv", "", "no file of references"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, text, says):
    with pytest.raises(TruthError, match=says) as error:
        read_truth([put(tmp_path, name, text)])
    assert error.value.remedy


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(TruthError, match="cannot read"):
        read_truth([tmp_path / "none.json"])


def test_names_of_recordings():
    names = ["talk", "b"]
    assert name_of(names, "talk", "s3://x/other.flac") == "talk"
    assert name_of(names, "x", "/data/talk.flac") == "talk"
    assert name_of(names, "folder-b", "/data/else.flac") == "b"
    assert name_of(names, "folderb", "/data/else.flac") is None
