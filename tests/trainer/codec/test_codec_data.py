"""Speech for codecs from each kind of source, and the laws of batches."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from voxbeam.pipeline.steps.shards import PackedSample
from voxbeam.trainer.codec.data import AudioUtterance, draw_batch, find_utterances, read, read_at, split_speakers

from tests.pipeline.factories import member, release_of


def test_a_folder_names_speakers_and_texts(speech_folder: Path, tmp_path: Path) -> None:
    for path in speech_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "1.trans.txt").write_text("1-a HELLO THERE\n9-z NOBODY\n")
    found = find_utterances(str(tmp_path))
    assert [(u.speaker, u.rate, u.text) for u in found] == [
        ("1", 16_000, "HELLO THERE"),
        ("2", 16_000, None),
        ("3", 16_000, None),
    ]
    assert all(u.samples == 64_000 == len(read(u)) for u in found)
    assert read_at(found[0], 24_000).shape == (96_000,)


def test_a_listing_names_speakers_and_texts(speech_folder: Path, tmp_path: Path) -> None:
    listing = tmp_path / "listing.csv"
    with listing.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows(
            [["uri", "speaker", "text"], [speech_folder / "1-a.flac", "ann", "hello"], [speech_folder / "2-a.wav", "", ""]]
        )
    assert [(u.speaker, u.text or None) for u in find_utterances(str(listing))] == [("ann", "hello"), ("2", None)]


def test_a_listing_of_a_bucket_is_refused_with_the_remedy(tmp_path: Path) -> None:
    listing = tmp_path / "listing.jsonl"
    listing.write_text('{"uri": "s3://bucket/a.flac"}\n')
    with pytest.raises(ValueError, match=r"row 1.*pack\.keep_audio"):
        find_utterances(str(listing))


def corpus(folder: Path, speech_folder: Path, keep_audio: bool) -> Path:
    """A release of three samples of three speakers, one of them in another split."""
    splits: dict[str, list[PackedSample]] = {"train": [], "test": []}
    for path, split in zip(sorted(speech_folder.iterdir()), ("train", "train", "test"), strict=True):
        sink = io.BytesIO()
        sf.write(sink, sf.read(path, dtype="float32")[0], 24_000, format="FLAC")
        made = member(path.stem, split=split, speaker=f"s{path.stem[0]}", text="words")
        splits[split].append(replace(made, flac=sink.getvalue() if keep_audio else None))
    release_of(folder, splits)
    return folder


def test_a_release_gives_the_audio_of_its_training_split(speech_folder: Path, tmp_path: Path) -> None:
    found = find_utterances(str(corpus(tmp_path / "corpus", speech_folder, keep_audio=True)))
    assert [(u.speaker, u.rate, u.text) for u in found] == [("s1", 24_000, "words"), ("s2", 24_000, "words")]
    recorded = sf.read(speech_folder / "1-a.flac", dtype="float32")[0]
    np.testing.assert_allclose(read(found[0], 1_000, 500), recorded[1_000:1_500], atol=1e-4)
    assert draw_batch(found, 2, 0.4, 0, 0).shape == (2, 1, 9_600)


def test_a_release_without_audio_is_refused_with_the_remedy(speech_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"keeps no audio.*pack\.keep_audio"):
        find_utterances(str(corpus(tmp_path / "corpus", speech_folder, keep_audio=False)))


def test_no_speaker_is_on_both_sides(speech_folder: Path) -> None:
    found = find_utterances(str(speech_folder))
    kept, held = split_speakers(found, 1)
    assert (len(kept), len(held)) == (2, 1)
    # The same speakers stay held out when the corpus grows.
    grown = [*found, AudioUtterance("zzz", "zzz", 1, 1, None)]
    assert held[0] in split_speakers(grown, 2)[1]
    with pytest.raises(ValueError, match="--held-out-speakers"):
        split_speakers(found, 3)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.flac or \.wav"):
        find_utterances(str(tmp_path))


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "1-a.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"1-a\.wav"):
        find_utterances(str(tmp_path))


def test_a_batch_is_a_function_of_seed_and_step(utterances: Sequence[AudioUtterance]) -> None:
    assert torch.equal(draw_batch(utterances, 2, 0.4, 0, 5), draw_batch(utterances, 2, 0.4, 0, 5))
    assert not torch.equal(draw_batch(utterances, 2, 0.4, 0, 5), draw_batch(utterances, 2, 0.4, 0, 6))
    assert not torch.equal(draw_batch(utterances, 2, 0.4, 0, 5), draw_batch(utterances, 2, 0.4, 1, 5))
    assert draw_batch(utterances, 2, 0.4, 0, 5).shape == (2, 1, 9_600)


def test_crops_longer_than_what_was_said_end_in_silence(utterances: Sequence[AudioUtterance]) -> None:
    batch = draw_batch(utterances, 1, 6.0, 0, 0)
    assert batch.shape == (1, 1, 144_000)
    assert batch[0, 0, -20_000:].abs().max() < 0.01
