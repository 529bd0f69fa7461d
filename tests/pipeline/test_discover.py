"""Folders as the layouts of known corpora: who speaks, and what is read, by the path."""

import json
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.layouts import propose_template, speaker_from_path
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError

from tests.pipeline.inputs import listed, touch


def test_librilight_sidecar(tmp_path: Path) -> None:
    touch(tmp_path, "100/emma/01.flac", "100/emma/02.flac", "100/emma/03.flac")
    sidecar = {"speaker": 100, "snr": 7.5, "book_meta": {"title": "Emma", "id": "1"}}
    (tmp_path / "100/emma/01.json").write_text(json.dumps(sidecar))
    (tmp_path / "100/emma/02.json").write_text("{broken")
    (tmp_path / "100/emma/03.json").write_bytes(b'["\xff"]')
    first, second, third = listed(tmp_path, license="CC0-1.0")
    assert (first.recording, first.speaker, first.title, first.source_snr_db) == ("100-emma-01", "100", "Emma", 7.5)
    assert first.license == "CC0-1.0" and first.language == "en"
    assert (second.speaker, second.title, third.speaker) == (None, None, None)


@pytest.mark.parametrize("sidecar", [[], 3, None, {"book_meta": "x"}, {"book_meta": None, "snr": "high", "speaker": None}])
def test_sidecar_of_another_kind_names_nothing(sidecar: Any, tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "a.json").write_text(json.dumps(sidecar))
    (only,) = listed(tmp_path)
    assert (only.speaker, only.title, only.source_snr_db) == (None, None, None)


def test_librispeech_names(tmp_path: Path) -> None:
    touch(tmp_path, "84/121123/84-121123-0001.flac", "84/121123/84-121123.trans.txt")
    (only,) = listed(tmp_path)
    assert (only.recording, only.speaker) == ("84-121123-84-121123-0001", "84")


@pytest.mark.parametrize(
    ("path", "template", "speaker"),
    [
        ("anna/1.wav", "{speaker}/*", "anna"),
        ("x/anna/1.wav", "*/{speaker}/*", "anna"),
        ("anna_01.wav", "{speaker}_*", "anna"),
        ("anna/deep/1.wav", "{speaker}/*", None),
        ("a.b/1.wav", "{speaker}.b/*", "a"),
        ("84-1-2.wav", None, "84"),
        ("talk.wav", None, None),
        ("100/121669/100_121669_000001_000000.wav", None, "100"),
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", None, "p225"),
        ("VCTK/wav48/p225/p225_001.wav", None, "p225"),
        ("p225/p225_001_mic2.flac", None, "p225"),
        ("p226/p225_001_mic2.flac", None, None),
    ],
)
def test_speaker_of_a_path(path: str, template: str | None, speaker: str | None) -> None:
    assert speaker_from_path(path, template) == speaker


def test_plain_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP3", "a.m4a", "c.opus", "notes.txt", "sub/d.ogg")
    found = listed(tmp_path)
    assert [r.recording for r in found] == ["a_m4a", "b_MP3", "c_opus", "sub-d_ogg"]
    assert all(Path(r.uri).exists() for r in found)


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="no recordings"):
        listed(tmp_path)
    with pytest.raises(ListingError, match="does not exist"):
        listed(tmp_path / "nowhere")


def test_libritts_and_vctk_texts(tmp_path: Path) -> None:
    touch(tmp_path, "a/100/1/100_1_000000_000000.wav", "wav48/p225/p225_001.wav")
    (tmp_path / "a/100/1/100_1_000000_000000.normalized.txt").write_text("Two dogs.\n")
    (tmp_path / "a/100/1/100_1_000000_000000.original.txt").write_text("2 dogs.\n")
    (tmp_path / "txt/p225").mkdir(parents=True)
    (tmp_path / "txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    found = discover(str(tmp_path), ListingConfig())
    assert {(r.speaker, r.text) for r in found.recordings} == {("100", "Two dogs."), ("p225", "Please call Stella.")}
    assert not found.left_out and not found.notes


def test_common_voice(tmp_path: Path) -> None:
    touch(tmp_path, "clips/a.mp3", "clips/b.mp3")
    rows = ["client_id\tpath\tsentence\tup_votes\tlocale", '00ff\ta.mp3\t"Yes," he said.\t2\ten', "00fe\tgone.mp3\tNo.\t2\ten"]
    (tmp_path / "validated.tsv").write_text("\n".join(rows))
    found = discover(str(tmp_path), ListingConfig())
    (only,) = found.recordings
    assert (only.speaker, only.text, only.language) == ("00ff", '"Yes," he said.', "en")
    assert {(k.kind, k.example) for k in found.left_out} == {
        ("not in validated.tsv", "clips/b.mp3"),
        ("listed in validated.tsv, but there is no such file", "gone.mp3"),
    }


def test_ljspeech_and_audiofolder(tmp_path: Path) -> None:
    touch(tmp_path, "lj/wavs/LJ001-0001.wav", "hf/x/one.wav")
    (tmp_path / "lj/metadata.csv").write_text('LJ001-0001|Printing, "in" 1 sense|Printing, in one sense\n')
    (tmp_path / "hf/metadata.csv").write_text("file_name,speaker_id,transcription\nx/one.wav,7,Hello\n")
    by_speaker = {r.speaker: r.text for r in listed(tmp_path)}
    assert by_speaker == {"LJ": 'Printing, "in" 1 sense', "7": "Hello"}


def test_folders_that_look_like_speakers_are_proposed_and_not_assumed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"spk/{name}/{n}.wav" for name in ("alice", "bob") for n in range(3)))
    found = discover(str(tmp_path), ListingConfig())
    assert all(r.speaker is None for r in found.recordings)
    assert "listing.speaker_path: 'spk/{speaker}/*'" in found.notes[0] and found.notes[1].startswith("6 of 6 recordings name no")
    named = discover(str(tmp_path), ListingConfig(speaker_path="spk/{speaker}/*"))
    assert {r.speaker for r in named.recordings} == {"alice", "bob"} and not named.notes
    assert discover(str(tmp_path), ListingConfig(speaker_path="*/{speaker}/*.wav")).recordings == named.recordings
    with pytest.raises(ListingError, match=r"'\{speaker\}' fits none of the 6 paths, such as 'spk/alice/0.wav'"):
        discover(str(tmp_path), ListingConfig(speaker_path="{speaker}"))


@pytest.mark.parametrize(
    "paths", [["a.wav", "b.wav"], ["x/a.wav", "b.wav"], ["train/a.wav", "train/b.wav", "test/c.wav", "test/d.wav"]]
)
def test_nothing_to_propose(paths: list[str]) -> None:
    assert propose_template(paths) is None


def test_speakers_that_are_no_names_are_told(tmp_path: Path) -> None:
    rows = "a.wav,a,a\nb.wav,b,unknown\nc.wav,c,Ann\nd.wav,d,\n"
    (tmp_path / "l.csv").write_text(f"uri,recording,speaker\n{rows}")
    found = discover(str(tmp_path / "l.csv"), ListingConfig())
    assert [recording.speaker for recording in found.recordings] == ["a", None, "Ann", None]
    nobody, own, unnamed = found.notes
    assert "'unknown' in 1 row" in nobody and "1 of 4" in own and "2 of 4" in unnamed


def test_folders_of_unknown_speakers_name_none(tmp_path: Path) -> None:
    for name in ("unknown", "e\u0301va", "ann"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
    found = discover(str(tmp_path), ListingConfig(speaker_path="{speaker}/*"))
    assert {recording.speaker for recording in found.recordings} == {None, "\xe9va", "ann"}
