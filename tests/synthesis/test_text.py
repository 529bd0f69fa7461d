"""From a text to sentences with pauses and to phones: nothing is left out in silence."""

from dataclasses import replace

import pytest

from voxbeam.models.phones import load_phone_set, open_phonemizer
from voxbeam.models.spoken_form import directions
from voxbeam.schemas.errors import SynthesisError
from voxbeam.synthesis.text import MAX_SENTENCE_CHARACTERS, PAUSE_S, Sentence, in_words, left_out, phone_ids, split_sentences


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(text)]


def test_sentences_have_pauses_between_them() -> None:
    assert split_sentences("One here. Two there; and three! \n Four?") == [
        Sentence("One here.", PAUSE_S["."]),
        Sentence("Two there;", PAUSE_S[";"]),
        Sentence("and three!", PAUSE_S["\n"]),
        Sentence("Four?", 0.0),
    ]
    assert 0 < PAUSE_S[","] < PAUSE_S["."] < PAUSE_S["\n"]


def test_long_sentences_are_divided() -> None:
    long = texts("word, " * 100)
    assert all(len(part) <= MAX_SENTENCE_CHARACTERS for part in long)
    assert "".join("".join(long).split()) == "".join(("word, " * 100).split())


def test_written_forms_are_spoken_before_they_are_split() -> None:
    assert texts("Dr. Hill paid $4.50. On Main St. (in town).") == [
        "doctor Hill paid four dollars and fifty cents.",
        "On Main street in town.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ... ", "no words"),
        ("It is cold ☃ today.", "cannot say '☃'; write it in words"),
        ("Привет, world.", "cannot say 'Привет': that is Cyrillic script, and the voice speaks English; write it in Latin"),
        ("你好.", "that is Chinese script"),
        ("say [the quiet part]", "cannot say '\\[the quiet part\\]'"),
    ],
)
def test_what_cannot_be_spoken_is_named(text: str, message: str) -> None:
    with pytest.raises(SynthesisError, match=message):
        split_sentences(text)


def test_stage_directions_are_told() -> None:
    assert directions("[laughs] Hello (applause) there (my friend) ♪") == ["[laughs]", "(applause)", "♪"]
    assert left_out("[laughs] Hello.") == ("'[laughs]' is not spoken",) and in_words("[laughs] Hello.") == "Hello."


def test_a_word_with_an_unknown_phone_is_named() -> None:
    """A model that was trained before the phone set had the last of its phones."""
    phonemizer, phone_set = open_phonemizer("en-us"), load_phone_set("en-us")
    ids = phone_ids(["We sat.", "The beige zebra"], phonemizer, phone_set)
    assert phone_set.decode(ids).count("|") == 4
    sound = phonemizer.phonemize(["beige"])[0].split()[-1]
    smaller = replace(phone_set, phones=tuple(phone for phone in phone_set.phones if phone != sound))
    with pytest.raises(SynthesisError, match=rf"cannot say 'beige': the phone '{sound}' is not in .*write the word as it sounds"):
        phone_ids(["We sat.", "The beige zebra"], phonemizer, smaller)
