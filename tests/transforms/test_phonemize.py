"""Text as it is spoken, its phones, and their ids."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.phones import SPECIALS, UnknownPhone, load_phone_set, open_phonemizer, phonemizer_version
from voxbeam.models.spoken_form import spoken_form
from voxbeam.schemas.config import PhonemizeConfig
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import Segment, Transcript
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.phonemize import Phonemize

SOURCE = SourceInfo(
    sha256="0" * 64,
    bytes=1,
    format="WAV",
    sample_rate=16_000,
    channels=1,
    frames=160_000,
    duration_ms=10_000,
    decoder="libsndfile",
)
UNIT = Unit(
    recording=Recording(recording="r", uri="r.wav"),
    source=SOURCE,
    index=0,
    start_ms=0,
    end_ms=10_000,
    margin_ms=0,
    fingerprint="f",
)
PHONE_SET = load_phone_set("en-us")
PHONEMIZER = open_phonemizer("en-us")


def test_a_segment_with_a_symbol_that_cannot_be_spoken_is_rejected() -> None:
    texts = ["It cost $5.", "I ❤ it.", "[music]"]
    segments = [
        Segment(start_ms=1000 * i, end_ms=1000 * i + 900, speaker="v1", transcript=Transcript(
            text=text, language="en", language_probability=0.9, avg_logprob=-0.3, no_speech_prob=0.01, compression_ratio=1.2,
            temperature=0.0, used_fallback=False,
        ))
        for i, text in enumerate(texts)
    ]  # fmt: skip
    done = Phonemize(PhonemizeConfig()).run(UnitState(unit=UNIT, segments=tuple(segments))).segments
    assert done[0].phones == PHONEMIZER.phonemize(["It cost five dollars."])[0]
    assert [s.reasons for s in done] == [(), ("unspoken_symbol",), ("no_text",)]
    assert all(s.rejected_by == "phonemize" for s in done[1:])


def test_the_letter_a_is_not_the_article() -> None:
    letters, vitamin, article = PHONEMIZER.phonemize(["A T and T", "vitamin A is", "A man read A Tale"])
    assert letters.startswith("ˈ eɪ |")
    assert "| ˈ eɪ |" in vitamin
    assert "ˈ eɪ |" not in article


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
    phones = PHONEMIZER.phonemize([spoken_form(" ".join(words)).text])[0]
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
