"""Words by which texts are compared, whatever the writing."""

import pytest

from voxbeam.models.words import long_text_words, spoken_words, word_errors


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Dr. Smith paid $5M for No. 10!", "doctor Smith paid five million dollars for number ten"),
        ("World War II — “it’s over”", "world war two, it's over"),
        ("MISTER QUILTER IS THE APOSTLE OF THE MIDDLE CLASSES", "Mister Quilter is the apostle of the middle classes."),
        ("a well-known, so-called 'friend'", "a well known so called friend"),
        ("one <unk> two {noise} three", "one two three"),
        ("...", "—"),
    ],
)
def test_the_same_words_whatever_the_writing(written, spoken):
    assert spoken_words(written, "en-GB") == spoken_words(spoken, "en")


def test_other_languages_keep_their_letters():
    assert spoken_words("Fräulein Müller, GUTEN Tag!", "de") == ("fräulein", "müller", "guten", "tag")
    assert spoken_words("Привет, мир!", "ru") == ("привет", "мир")
    assert spoken_words("हिन्दी में", "hi") == ("हिन्दी", "में")
    assert spoken_words("你好，世界", "zh-CN") == tuple("你好世界")


@pytest.mark.parametrize("between", [". ", "\n", " ", ""])
def test_a_long_text_has_the_words_of_its_sentences(between):
    sentence = "The Captain paid $3 for it and left at 10:30" if between else "aa"
    text = between.join([sentence] * 500)
    expected = spoken_words(sentence, "en") * 500 if between else None
    words = long_text_words(text, "en")
    assert words == expected if expected else "".join(words) == text


def test_word_errors_are_counted():
    assert word_errors(list("abcd"), list("axc")) == 2
    assert word_errors([], ["a"]) == word_errors(["a"], []) == 1
