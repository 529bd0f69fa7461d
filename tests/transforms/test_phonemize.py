"""Text as it is spoken, its phones, and their ids."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.phones import SPECIALS, UnknownPhone, load_phone_set, open_phonemizer, phonemizer_version
from voxbeam.models.text_normalization import normalize_text

PHONE_SET = load_phone_set("en-us")
PHONEMIZER = open_phonemizer("en-us")


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Dr. Smith paid $4.50.", "doctor Smith paid four dollars and fifty cents."),
        ("Mr. and Mrs. Hill of St. Ives", "mister and missus Hill of saint Ives"),
        (
            "In 1984, 50% of 1,234 men",
            "In nineteen eighty four, fifty percent of one thousand two hundred and thirty four men",
        ),
        ("the 21st of May 2005", "the twenty first of May two thousand and five"),
        ("$1 and £3 million", "one dollar and three million pounds"),
        ("the 1990s", "the nineteen nineties"),
        ("at 10:05 [music] we left", "at ten oh five we left"),
        ("salt & pepper", "salt and pepper"),
        ("It’s a well-known fact", "It's a well-known fact"),
    ],
)
def test_text_is_written_as_spoken(written, spoken):
    assert normalize_text(written) == spoken


@given(st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("0123456789.,$£€%:-stndrh ")), max_size=60))
@settings(deadline=None)
def test_no_digit_or_sign_is_left(text):
    normal = normalize_text(text)
    assert not [c for c in normal if unicodedata.category(c)[0] not in "LMZ" and c not in "',.?!;:-"]
    assert normalize_text(normal).split() == normal.split() or "." in normal or ":" in normal


def test_phones_of_a_batch_are_those_of_each_text_alone():
    texts = ["Hello, world.", "", "...", "The lazy dog sleeps.", "A déjà vu of the nurse's"]
    together = PHONEMIZER.phonemize(texts)
    assert together == [PHONEMIZER.phonemize([text])[0] for text in texts]
    assert together[0] == "h ə l ˈ oʊ | w ˈ ɜː l d"
    assert together[1:3] == ["", ""]


@given(
    st.lists(
        st.sampled_from(
            [
                "the",
                "of",
                "a",
                "lazy",
                "dog",
                "four",
                "hours",
                "her",
                "before",
                "nurse",
                "little",
                "bottle",
                "1812",
                "$5",
                "vision",
                "thing",
            ]
        )
    )
)
@settings(deadline=None, max_examples=50)
def test_ids_round_trip(words):
    phones = PHONEMIZER.phonemize([normalize_text(" ".join(words))])[0]
    assert PHONE_SET.decode(PHONE_SET.encode(phones)) == phones


def test_an_unknown_phone_is_named():
    with pytest.raises(UnknownPhone, match="ʀ"):
        PHONE_SET.encode("h ə ʀ")


def test_ids_of_the_first_phone_set_never_change():
    assert PHONE_SET.phones[:4] == SPECIALS
    assert len(set(PHONE_SET.phones)) == len(PHONE_SET.phones)
    assert json.loads(PHONE_SET.content)["espeak"] == phonemizer_version()
    assert PHONE_SET.sha256 == "a6b3522fa81b0e2ddd6c2edd43887076642e4eadfb897247e6736921fd758b5b"


def test_a_voice_without_phone_set_is_named_with_the_remedy():
    with pytest.raises(FileNotFoundError, match="build_phones"):
        load_phone_set("tlh")
