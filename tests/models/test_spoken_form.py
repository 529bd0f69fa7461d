"""The spoken form of text: the published table, the shared cases, and what is true of any text."""

import re
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voxbeam.models.phones import open_phonemizer
from voxbeam.models.spoken_form import SILENT, spoken_form
from voxbeam.schemas.errors import SynthesisError
from voxbeam.synthesis.text import in_words

TABLE = Path(__file__).with_name("spoken_form.tsv")
ROWS = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
CASES = Path(__file__).parents[3] / "shared" / "cases"
DOCUMENT = Path(__file__).parents[2] / "docs" / "spoken_form.md"
ALLOWED = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœ ',.?!;:-]*")
PIECES = (
    "1", "20", "305", "1999", "1,000", "3.5", "0", "007", "½", "$", "€", "£", "¢", "k", "M", "bn", " ", " ", "-", "–",
    "—", ".", ",", ":", "/", "%", "°", "C", "F", "#", "@", "&", "+", "*", "^", "²", "=", "<", ">", "'", '"', "(", ")",
    "[", "]", "_", "km", "ft", "mph", "m/s", "am", "p.m.", "st", "th", "s", "II", "IV", "XIV", "Henry", "Chapter",
    "World War", "Dr.", "St.", "Main", "No.", "Jan.", "May", "U.S.", "Ph.D.", "AT&T", "FBI", "CO2", "www.",
    "example.com", "bob@mail.org", "a", "A", "I", "the", "and", "é", "ß", "ř", "я", "😀", "x", "v",
    "h", "e", "0x", "BC", "CE", "N", "Gen.", "1:1",
)  # fmt: skip
WRITTEN = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=14).map("".join))


@pytest.mark.parametrize(("kind", "written", "spoken"), ROWS)
def test_row_of_the_table(kind: str, written: str, spoken: str) -> None:
    assert spoken_form(written).text == spoken
    assert not spoken_form(written).dropped


def test_the_table_is_what_is_published() -> None:
    """At least 300 rows, none twice; the document has every kind, each with an example out of the table."""
    assert len(ROWS) >= 300
    assert len({written for _, written, _ in ROWS}) == len(ROWS)
    published = re.findall(r"^\| ([\w-]+) \| `` (.+?) `` \| (.+?) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [list(row) for row in published if list(row) not in ROWS] == []
    assert {kind for kind, _, _ in published} == {kind for kind, _, _ in ROWS}


@pytest.mark.parametrize("name", ["24-currency", "26-numbers-dates-abbrev"])
def test_shared_cases_by_phones(name: str) -> None:
    file = CASES / name / "rows.tsv"
    if not file.is_file():
        pytest.skip("the shared cases are not here")
    phonemizer = open_phonemizer("en-us")
    wrong = []
    for line in file.read_text(encoding="utf-8").splitlines():
        _, written, right = line.split("\t")
        form = spoken_form(written)
        if form.dropped or phonemizer.phonemize([form.text])[0] not in phonemizer.phonemize(right.split(" || ")):
            wrong.append((written, form))
    assert wrong == []


@pytest.mark.parametrize(
    ("written", "dropped"),
    [
        ("Hello 😀 world.", ("😀",)),
        ("f*** that", ("f***",)),
        ("See Encl. for details.", ("Encl",)),
        ("Encl. two copies.", ("Encl",)),
        ("Prices, incl. tax, rose.", ("incl",)),
        ("They let 5 in.", ("in|",)),
        ("Compute 5! first.", ("five|",)),
        ("He said привет to me.", ("привет",)),
        ("It costs $ a lot.", ("$",)),
        ("He [the president] left.", ("[the president]",)),
        ("Ke$ha sang.", ("Ke$ha",)),
        ("a | b", ("|",)),
        ("日本語", ("日本語",)),
        ("Lvl 3 of it, shh.", ("Lvl", "shh")),
        ("Dr. Krk came.", ("Krk",)),
        ("En 1º lugar.", ("ª",)),
        ("Nice :-) see you ;)", (":-)", ";)")),
        ("It does 5 lb/blip now.", ("lb|",)),
    ],
)
def test_what_cannot_be_spoken_is_named(written: str, dropped: tuple[str, ...]) -> None:
    assert spoken_form(written).dropped == dropped
    with pytest.raises(SynthesisError, match=re.escape(repr(dropped[0]))):
        in_words(written)


@given(WRITTEN)
@settings(deadline=None, max_examples=500)
@example("See section video, act vivid, part xiv, CHAPTER IIII.")
def test_any_text_has_a_spoken_form(written: str) -> None:
    """Only the alphabet of the spoken form is left, no digit, and a spoken form is its own spoken form."""
    text = spoken_form(written).text
    assert ALLOWED.fullmatch(text), text
    assert text == " ".join(text.split())
    assert spoken_form(text) == spoken_form(text).__class__(text)


@given(st.characters(exclude_categories=()))
@settings(deadline=None, max_examples=1000)
@example("½")
@example("☃")
@example("²")
@example("﹙")
def test_a_symbol_is_spoken_silent_or_named(symbol: str) -> None:
    form = spoken_form(f"one {symbol} two")
    plain = symbol if symbol in SILENT else unicodedata.normalize("NFKC", symbol)  # ﹙ is a parenthesis
    silent = all(c in SILENT or unicodedata.category(c)[0] in "MZ" or unicodedata.category(c) in ("Cc", "Cf") for c in plain)
    assert form.text != "one two" or form.dropped or silent


def test_most_texts_take_little_time() -> None:
    """A tenth of what a quiet core does (docs/spoken_form.md) will do here."""
    texts = [written for _, written, _ in ROWS]
    started = time.process_time()
    for text in texts:
        spoken_form.__wrapped__(text)
    assert len(texts) / (time.process_time() - started) > 500


@pytest.mark.parametrize("digit", ["2", "²", "२"])
def test_a_run_of_digits_that_is_no_number_is_read_digit_by_digit(digit: str) -> None:
    """Each rule would look through the run once for each of its digits: 4,096 of them, what `serve` takes, were 2 s."""
    form = spoken_form(digit * 4096)
    assert form.text.split()[-4096:] == ["two"] * 4096


def test_the_library_of_phones_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    """espeak-ng divides some texts into other words than they have, which is no fault and was told in every build."""
    open_phonemizer("en-us").phonemize(["He is in the A T and T of it, on the other hand."])
    assert not caplog.records
