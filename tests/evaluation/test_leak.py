"""Near-duplicates by text and by sound, and test sets in a corpus."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.evaluation import leak as library
from voxbeam.evaluation.near_duplicates import SAME_SOUND, Pair, compare_sounds, copies, similar_texts, sound_correlation
from voxbeam.models.speech_metrics import embed_speaker
from voxbeam.schemas.config import CorpusConfig
from voxbeam.storage.overlays import read_overlays

from tests.pipeline.factories import small_release

RATE = 16_000
PROVERB = "a bird in the hand is worth two in the bush as they say"


def words(text):
    return tuple(text.split())


def test_nearly_the_same_texts_are_found_whatever_surrounds_them():
    texts = {
        "a": words(PROVERB),
        "b": words(f"well {PROVERB} and i agree with them"),
        "c": words("a bird in the hand is rarely seen by anyone who lives around here"),
        "d": words("something else is said here by somebody else"),
        "e": words("a bird"),
    }
    pairs = similar_texts(texts)
    assert [(pair.one, pair.other) for pair in pairs] == [("a", "b")]
    assert pairs[0].shared == 1 and not pairs[0].same_sound


def test_two_collections_are_compared_with_each_other_only():
    texts = {"a": words(PROVERB), "b": words(PROVERB)}
    assert [(pair.one, pair.other) for pair in similar_texts(texts, {"x": words(PROVERB)})] == [("a", "x"), ("b", "x")]


def test_figures_of_speech_are_not_pairs():
    texts = {str(number): words("thank you very much") for number in range(300)}
    assert similar_texts(texts) == []


@pytest.fixture(scope="module")
def clip(speech):
    return speech[7 * RATE : 12 * RATE]


def test_the_same_sound_at_another_level_rate_place_and_length(clip, speech):
    other = soxr.resample(soxr.resample(speech[6 * RATE : 12 * RATE - 4000], RATE, 8000), 8000, RATE) * 0.3
    assert sound_correlation(clip, other.astype(np.float32)) > SAME_SOUND
    assert sound_correlation(clip, clip) == pytest.approx(1)


def test_other_sounds_and_silence_are_not_the_same(clip, speech):
    faster = soxr.resample(clip, RATE, round(RATE * 0.85)).astype(np.float32)
    for other in (speech[14 * RATE : 19 * RATE], faster, clip[::-1].copy(), np.zeros(5 * RATE, np.float32), clip[:100]):
        assert sound_correlation(clip, other) < 0.6


def test_sounds_of_pairs(clip, speech):
    pairs = similar_texts({"a": words(PROVERB)}, {"x": words(PROVERB)})
    [pair] = compare_sounds(pairs, lambda key: clip, lambda key: clip)
    assert pair.same_sound
    [pair] = compare_sounds(pairs, lambda key: clip, lambda key: speech[14 * RATE : 19 * RATE])
    assert not pair.same_sound


@pytest.fixture
def utterances_of_a_test(tmp_path, clip, speech) -> Path:
    """Two utterances: one whose text and sound are in the corpus, and one that nobody said."""
    folder = tmp_path / "test"
    folder.mkdir()
    rows = []
    for name, sound, text in (
        ("in", clip, PROVERB),
        ("out", speech[14 * RATE : 19 * RATE], "nobody has ever said this to anyone"),
    ):
        sf.write(folder / f"{name}.wav", sound, RATE)
        rows.append({"uri": f"{name}.wav", "speaker": name, "text": text})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "test.jsonl"


def release_with(folder: Path, text: str, embedding: np.ndarray | None) -> Path:
    stored = None if embedding is None else embedding.astype(np.float16).tobytes()
    small_release(
        folder,
        tables={
            "samples": lambda rows: [replace(row, text=text if number == 0 else "hello") for number, row in enumerate(rows)],
            "voices": lambda rows: [replace(rows[0], embedding=stored), *rows[1:]],
        },
    )
    return folder


def test_a_leak_is_found_by_text_sound_and_voice(tmp_path, utterances_of_a_test, clip, monkeypatch, capsys):
    voice = embed_speaker(soxr.resample(clip, RATE, 24_000).astype(np.float32))
    corpus = release_with(tmp_path / "corpus", PROVERB, voice)
    monkeypatch.setattr(library, "sound_of", lambda corpus, key: clip)  # the codes of this release are no sound
    assert main(["evaluate", "leak", str(corpus), "--test", str(utterances_of_a_test), "--json"]) == WRONG
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert list(document) == list(FIELDS["evaluate leak"])
    assert [(pair["one"].rpartition(":")[2], pair["same_sound"]) for pair in document["texts"]] == [("in", True)]
    assert "in" in [voice["speaker"] for voice in document["voices"]]
    assert "1 are in the corpus as sound, 1 as text" in printed.err


def test_a_corpus_without_the_test_set_is_clean(tmp_path, utterances_of_a_test, capsys):
    corpus = release_with(tmp_path / "corpus", "other words than those", None)
    assert main(["evaluate", "leak", str(corpus), "--test", str(utterances_of_a_test)]) == DONE
    assert "0 are in the corpus as sound, 0 as text, 0 speakers" in capsys.readouterr().out
    assert main(["evaluate", "leak", str(corpus), "--test", str(tmp_path / "corpus" / "units")]) == UNUSABLE


def test_duplicates_of_a_corpus(tmp_path, clip, monkeypatch, capsys):
    corpus = tmp_path / "corpus"
    small_release(corpus, tables={"samples": lambda rows: [replace(row, text=PROVERB) for row in rows[:2]] + rows[2:]})
    monkeypatch.setattr(library, "sound_of", lambda corpus, key: clip)
    overlay = tmp_path / "copies.jsonl"
    assert main(["evaluate", "duplicates", str(corpus), "--overlay", str(overlay), "--json"]) == DONE
    document = json.loads(capsys.readouterr().out)
    written = overlay.read_bytes()
    assert (
        main(["evaluate", "duplicates", str(corpus), "--overlay", str(overlay)]) == UNUSABLE and overlay.read_bytes() == written
    )
    assert list(document) == list(FIELDS["evaluate duplicates"])
    (pair,) = document["pairs"]
    assert pair["same_sound"] and document["copies"] == [max(pair["one"], pair["other"])]
    exclude = read_overlays(CorpusConfig(overlays=(str(overlay),))).exclude
    assert exclude.segments == {document["copies"][0]: f"the same sound as {min(pair['one'], pair['other'])}"}


def test_of_copies_one_stays():
    def same(one: str, other: str, sound: float | None = 0.95) -> Pair:
        return Pair(one=one, other=other, shared=1.0, sound=sound)

    assert copies([same("a", "b"), same("b", "c"), same("a", "c")], ["c", "a", "b"]) == {"a": "c", "b": "c"}
    assert copies([same("whole", "half"), same("whole", "rest")], ["half", "whole", "rest"]) == {"whole": "half"}
    assert copies([same("a", "b", 0.5), same("a", "c", None)], ["a", "b", "c"]) == {}
