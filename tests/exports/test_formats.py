"""Every format of an export by the library that reads it."""

import gzip
import io
import json
import os
import subprocess
from pathlib import Path

import datasets
import lhotse
import numpy as np
import pytest
import soundfile as sf

from voxbeam.corpus import Corpus
from voxbeam.exports.export import export
from voxbeam.exports.target import MARKER
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.store import Store

from tests.exports.compared import kept, rows

pytestmark = pytest.mark.slow


def test_datasets_loads_the_folder_as_it_is(spoken: Corpus, out: Path) -> None:
    export(spoken, "datasets", str(out), sound="kept")
    loaded = datasets.load_dataset(str(out))
    assert {split: len(data) for split, data in loaded.items()} == {"train": 4, "valid": 4}
    features = loaded["train"].features
    assert isinstance(features["audio"], datasets.Audio) and features["audio"].sampling_rate == 24_000
    expected = rows(spoken)
    for data in loaded.values():
        for sample in data.cast_column("audio", datasets.Audio(decode=False)):
            row = expected.pop(sample["key"])
            assert (sample["text"], sample["speaker"], sample["phone_ids"]) == (row.text, row.speaker, row.phone_ids)
            assert sample["words"] == row.words
            np.testing.assert_array_equal(np.array(sample["codes"], np.int16), spoken.codes(row.key))
            np.testing.assert_array_equal(sf.read(io.BytesIO(sample["audio"]["bytes"]), dtype="float32")[0], kept(spoken, row))
    assert not expected


def test_datasets_without_audio_has_no_column_for_it(spoken: Corpus, out: Path) -> None:
    export(spoken, "datasets", str(out), sound="none")
    assert "audio" not in datasets.load_dataset(str(out), split="train").column_names


def test_lhotse_reads_the_shards(spoken: Corpus, out: Path) -> None:
    export(spoken, "shar", str(out), sound="kept")
    expected = rows(spoken)
    for split in ("train", "valid"):
        for cut in lhotse.CutSet.from_shar(in_dir=out / split):
            row = expected.pop(cut.id)
            (supervision,) = cut.supervisions
            assert (supervision.text, supervision.speaker, supervision.custom["speaker_name"]) == (
                row.text,
                row.identity,
                row.speaker,
            )
            assert cut.duration == row.duration_ms / 1000 == supervision.duration
            np.testing.assert_array_equal(cut.load_codes(), spoken.codes(row.key))
            np.testing.assert_array_equal(cut.load_audio()[0], kept(spoken, row))
            lhotse.validate(cut)
    assert not expected


def test_nemo_manifest_names_files_of_its_durations(spoken: Corpus, out: Path) -> None:
    export(spoken, "nemo", str(out), sound="kept")
    expected = rows(spoken)
    for split in ("train", "valid"):
        for line in (out / f"{split}_manifest.json").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            row = expected.pop(entry["key"])
            wave, rate = sf.read(out / entry["audio_filepath"], dtype="float32")
            assert (rate, len(wave)) == (24_000, round(entry["duration"] * 24_000))
            assert entry["text"] == " ".join((row.text or "").split()) and entry["speaker"] == row.identity
            np.testing.assert_array_equal(wave, kept(spoken, row))
    assert not expected


@pytest.mark.parametrize("sound", ["codes", "refer"])
def test_kaldi_directories_are_sorted_and_lhotse_reads_them(spoken: Corpus, out: Path, sound: str) -> None:
    export(spoken, "kaldi", str(out), sound=sound)
    for split, recording in (("train", "talk"), ("valid", "two")):
        for name in ("wav.scp", "reco2dur", "segments", "text", "utt2spk", "spk2utt"):
            done = subprocess.run(["sort", "-c", "-u", str(out / split / name)], env={**os.environ, "LC_ALL": "C"})
            assert done.returncode == 0, name
        by_speaker = subprocess.run(["sort", "-c", "-k2", str(out / split / "utt2spk")], env={**os.environ, "LC_ALL": "C"})
        assert by_speaker.returncode == 0
        recordings, supervisions, _ = lhotse.load_kaldi_data_dir(out / split, 16_000 if sound == "refer" else 24_000)
        assert len(recordings) == (1 if sound == "refer" else 4) and len(supervisions) == 4
        cuts = lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions()
        for cut, row in zip(cuts, (r for r in rows(spoken).values() if r.recording == recording), strict=True):
            assert cut.supervisions[0].text == " ".join((row.text or "").split())
            wave = cut.load_audio()[0]
            if sound == "codes":
                decoded = spoken.audio(row.key)[: row.duration_ms * 24]
                np.testing.assert_allclose(wave, decoded, atol=1e-4)
            else:
                assert len(wave) == row.duration_ms * 16 and np.corrcoef(wave, _at_16_khz(spoken, row))[0, 1] > 0.99


def _at_16_khz(corpus: Corpus, row: SampleRow) -> np.ndarray:
    import soxr

    return soxr.resample(kept(corpus, row), 24_000, 16_000)


def test_audio_cut_from_the_sources_is_what_the_build_kept(spoken: Corpus, out: Path) -> None:
    export(spoken, "nemo", str(out), sound="sources")
    for row in rows(spoken).values():
        wave = sf.read(out / "audio" / row.recording / f"{row.key}.flac", dtype="float32")[0]
        np.testing.assert_allclose(wave, kept(spoken, row), atol=2e-4)


def test_shar_cuts_are_gzip_without_time(spoken: Corpus, out: Path) -> None:
    export(spoken, "shar", str(out), sound="none")
    content = (out / "train" / "cuts.000000.jsonl.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0" and len(gzip.decompress(content).splitlines()) == 4
    assert Store(str(out)).exists(MARKER)
