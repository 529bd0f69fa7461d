"""Which transcripts are weak, and what a second recognizer's text says of one."""

from dataclasses import replace

import pytest

from voxbeam.models import moonshine
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.segment import Transcript
from voxbeam.transforms.asr.second import is_weak, with_second_opinion

CONFIG = TranscribeConfig()
SURE = Transcript(
    text="We wanted to say thank you.", language="en", language_probability=None, avg_logprob=-0.3, no_speech_prob=0.0,
    compression_ratio=1.0, temperature=0.0, used_fallback=False,
)  # fmt: skip


def test_weak_is_what_is_improbable_decoded_again_or_repeated() -> None:
    assert not is_weak(SURE, CONFIG)
    assert is_weak(replace(SURE, avg_logprob=-0.7), CONFIG)
    assert is_weak(replace(SURE, used_fallback=True), CONFIG)
    assert is_weak(replace(SURE, text="No, no, I will not."), CONFIG)
    assert not is_weak(replace(SURE, text="Tomorrow, and tomorrow, and tomorrow"), CONFIG)


def test_an_opinion_counts_words_as_they_are_spoken() -> None:
    same = with_second_opinion(replace(SURE, text="Chapter 6 cost $5."), "chapter six, cost five dollars", "en")
    assert (same.second_wer, same.second_repeats) == (0.0, 0)
    more = with_second_opinion(SURE, "We, we, we wanted to to say thank you.", "en")
    assert more.second_repeats == 3 and more.second_wer == pytest.approx(3 / 9)
    fewer = with_second_opinion(replace(SURE, text="no no no"), "no no", "en")
    assert fewer.second_repeats == -1
    assert with_second_opinion(SURE, "", "en").second_wer == 1.0
    assert with_second_opinion(replace(SURE, text=""), "", "en").second_wer == 0.0


def test_without_its_package_moonshine_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moonshine, "find_spec", lambda _name: None)
    with pytest.raises(ModelError) as caught:
        moonshine.moonshine_files()
    assert "voxbeam[moonshine]" in str(caught.value.remedy)
