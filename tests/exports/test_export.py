"""Exports: every format by the library that reads it, the same bytes after a stop, and a place that holds something else."""

import gzip
import io
import json
import os
import re
import subprocess
from pathlib import Path

import datasets
import lhotse
import mlcroissant
import numpy as np
import pytest
import soundfile as sf
import yaml

from voxbeam.corpus import Corpus
from voxbeam.exports.describe import DESCRIPTIONS, describe_release
from voxbeam.exports.export import FORMATS, export
from voxbeam.exports.hugging_face import export_schema
from voxbeam.exports.parts import part_tables, plan_parts
from voxbeam.exports.target import CARD, MARKER
from voxbeam.schemas.errors import ModelError, NotInCorpusError, StorageError, VoxbeamError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.spoken_release import spoken_release

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CASES = [(name, sound) for name, each in FORMATS.items() for sound in each.sounds]


def rows(corpus: Corpus) -> dict[str, SampleRow]:
    return {row.key: row for row in read_rows(corpus.store, corpus.release, SampleRow)}


def kept(corpus: Corpus, row: SampleRow) -> np.ndarray:
    assert row.flac_offset is not None and row.flac_bytes is not None
    content = corpus.store.get_range(row.shard, row.flac_offset, row.flac_bytes)
    return sf.read(io.BytesIO(content), dtype="float32")[0]


def objects(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


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


@pytest.mark.parametrize(("name", "sound"), CASES)
def test_a_stopped_export_goes_on_and_ends_with_the_same_bytes(
    spoken: Corpus, out: Path, tmp_path: Path, name: str, sound: str
) -> None:
    if (name, sound) == ("nemo", "refer"):
        pytest.skip("refused: one of the recordings has two channels")
    if sound == "sources" and name != "shar":
        pytest.skip("slow, and the same code")
    whole = tmp_path / ("out2" if name != "kaldi" else "out")
    export(spoken, name, str(whole), sound=sound)
    first = objects(whole)
    if name == "kaldi":  # its paths are of the place
        whole.rename(tmp_path / "moved")

    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        export(spoken, name, str(out), sound=sound, on_part=stop)
    assert (out / MARKER).exists() and not (out / CARD).exists()
    result = export(spoken, name, str(out), sound=sound)
    assert not result.resumed and objects(out) == first
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert export(spoken, name, str(out), sound=sound).resumed
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_place_that_holds_something_else_is_refused(spoken: Corpus, out: Path) -> None:
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"not empty \(1 objects, e\.g\. mine\.txt\); name a new or an empty folder"):
        export(spoken, "shar", str(out))
    (out / "mine.txt").unlink()
    export(spoken, "shar", str(out), sound="none")
    with pytest.raises(StorageError, match="another export"):
        export(spoken, "datasets", str(out), sound="none")


def test_what_cannot_be_had_is_said(spoken: Corpus, out: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxbeamError, match="has no audio 'refer'; its choices are kept, codes, sources, none"):
        export(spoken, "shar", str(out), sound="refer")
    with pytest.raises(StorageError, match=r"2 channels.*--audio sources"):
        export(spoken, "nemo", str(out), sound="refer")
    bare = spoken_release(tmp_path / "bare", keep_audio=False, per_recording=1)
    with pytest.raises(NotInCorpusError, match=r"no audio in its shard.*pack\.keep_audio"):
        export(bare, "shar", str(tmp_path / "kept"), sound="kept")
    (tmp_path / "bare" / "in" / "two.flac").unlink()
    with pytest.raises(StorageError, match=r"two\.flac is not there any more; put the recording back .* --audio kept"):
        export(bare, "shar", str(tmp_path / "sources"), sound="sources")


def test_the_card_says_what_the_audio_is(spoken: Corpus, out: Path) -> None:
    assert export(spoken, "shar", str(out)).sound == "kept"
    assert "The recording of a cut is the FLAC that was kept in the shard, mono, 24 kHz" in (out / CARD).read_text(
        encoding="utf-8"
    )


def test_parts_hold_every_row_once_in_order(spoken: Corpus) -> None:
    parts = plan_parts(spoken.store, spoken.release, part_ms=4000)
    assert [(part.split, part.number, part.rows) for part in parts] == [
        ("train", 0, 2), ("train", 1, 2), ("valid", 0, 2), ("valid", 1, 2),
    ]  # fmt: skip
    tables = dict(part_tables(spoken.store, spoken.release, parts))
    assert [key for table in tables.values() for key in table["key"].to_pylist()] == list(rows(spoken))
    ((_, table),) = part_tables(spoken.store, spoken.release, parts[2:3])
    assert table["key"].to_pylist() == tables[parts[2]]["key"].to_pylist()


def test_croissant_of_a_release_validates_and_its_records_are_the_samples(spoken: Corpus, tmp_path: Path) -> None:
    for path, content in describe_release(spoken.store, spoken.release, about={"url": "https://example.org"}).items():
        spoken.store.replace(path, content)
    described = mlcroissant.Dataset(str(Path(spoken.store.root) / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    found = [record["samples/key"].decode() for record in described.records("samples")]
    assert sorted(found) == sorted(rows(spoken))
    tree = json.loads((Path(spoken.store.root) / "croissant.json").read_bytes())
    assert len([name for name in tree if name.startswith("rai:")]) == 17 and all(tree[n] for n in tree if n.startswith("rai:"))
    assert "http://mlcommons.org/croissant/RAI/1.0" in tree["conformsTo"] and tree["url"] == "https://example.org"
    named = {file["contentUrl"]: file["sha256"] for file in tree["distribution"] if "sha256" in file}
    assert named.keys() == {f.path for f in spoken.release.files if f.kind not in ("samples", *DESCRIPTIONS)}


def test_croissant_that_a_release_has_reads_its_samples(spoken: Corpus) -> None:
    (file,) = spoken.release.files_of_kind("croissant")
    described = mlcroissant.Dataset(str(Path(spoken.store.root) / file.path))
    assert not described.metadata.ctx.issues.errors
    assert sorted(record["samples/key"].decode() for record in described.records("samples")) == sorted(rows(spoken))


def test_croissant_of_an_export_reads_its_files(spoken: Corpus, out: Path) -> None:
    export(spoken, "datasets", str(out), sound="none")
    described = mlcroissant.Dataset(str(out / "croissant.json"))
    assert sum(1 for _ in described.records("samples")) == 8


def test_the_card_states_the_release(spoken: Corpus) -> None:
    card = describe_release(spoken.store, spoken.release, label_error="2 % of the labels are wrong.")["README.md"].decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "cc0-1.0" and front["language"] == ["en"] and front["size_categories"] == ["n<1K"]
    assert "| train | 4 | 0.1 minutes | 1 |" in card and "2 % of the labels are wrong." in card and "`low_snr`" in card
    assert str(spoken.store.root) not in card


def test_shar_cuts_are_gzip_without_time(spoken: Corpus, out: Path) -> None:
    export(spoken, "shar", str(out), sound="none")
    content = (out / "train" / "cuts.000000.jsonl.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0" and len(gzip.decompress(content).splitlines()) == 4
    assert Store(str(out)).exists(MARKER)


def test_the_example_of_the_documentation(spoken: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exports.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "docs/exports.md", "exec"), {"corpus": spoken})
    assert (tmp_path / "exported" / CARD).exists()


def test_the_codes_of_every_codec_are_exported(spoken: Corpus, out: Path, tmp_path: Path) -> None:
    export(spoken, "datasets", str(out / "d"), sound="none")
    export(spoken, "shar", str(out / "s"), sound="none")
    moved = Corpus(spoken.uri, codec_name="moved")
    data = datasets.load_dataset(str(out / "d"), split="train")
    assert "further_codes" not in data.column_names
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_shar(in_dir=out / "s" / "train")}
    for sample in data:
        expected = moved.codes(sample["key"])
        np.testing.assert_array_equal(np.array(sample["codes_moved"], np.int16), expected)
        np.testing.assert_array_equal(cuts[sample["key"]].load_codes_moved(), expected)
        assert not np.array_equal(expected, spoken.codes(sample["key"]))
    assert "`codes_moved`" in (out / "d" / CARD).read_text() and "`cut.load_codes_moved()`" in (out / "s" / CARD).read_text()
    bare = spoken_release(tmp_path / "bare", per_recording=1)
    export(bare, "datasets", str(out / "b"), sound="none")
    assert [f.name for f in export_schema((), audio=False)] == datasets.load_dataset(str(out / "b"), split="train").column_names


@pytest.mark.parametrize("name", ["datasets", "shar", "nemo", "kaldi"])
def test_audio_from_the_codes_of_a_further_codec(spoken: Corpus, out: Path, name: str) -> None:
    """Its codes by its own weights sound as those of the first do; by the weights of the first they would not."""
    moved = Corpus(spoken.uri, codec_name="moved")
    with pytest.raises(VoxbeamError, match=r"a codec is named \(moved\), but the audio is the FLAC that was kept.*--audio codes"):
        export(moved, name, str(out / "kept"))
    export(moved, name, str(out / "moved"), sound="codes")
    export(spoken, name, str(out / "first"), sound="codes")
    with pytest.raises(StorageError, match="another export"):
        export(spoken, name, str(out / "moved"), sound="codes")
    assert "decoded from the codec tokens of moved, mono" in (out / "moved" / CARD).read_text(encoding="utf-8")
    sounds = [
        {path: content for path, content in objects(out / which).items() if _has_sound(path)} for which in ("moved", "first")
    ]
    assert sounds[0] and sounds[0] == sounds[1]
    weights = Path(spoken.release.config["codecs"]["moved"]["codec"])
    weights.rename(weights.with_name("away"))
    try:
        with pytest.raises(ModelError, match=r"moved\.safetensors"):
            export(Corpus(spoken.uri, codec_name="moved"), name, str(out / "away"), sound="codes")
    finally:
        weights.with_name("away").rename(weights)


def _has_sound(path: str) -> bool:
    return path.endswith((".flac", ".wav", ".parquet")) or "/recording." in path


def test_a_damaged_code_of_a_further_codec_is_found(spoken: Corpus, out: Path, tmp_path: Path) -> None:
    release = spoken_release(tmp_path / "damaged", per_recording=1, moved=True)
    row = next(iter(rows(release).values()))
    assert row.further_codes is not None
    shard = Path(release.uri) / row.shard
    content = bytearray(shard.read_bytes())
    content[row.further_codes[0]["offset"] + 200] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="is not the file of the release"):
        export(release, "shar", str(out), sound="none")


def test_card_and_croissant_name_every_codec(spoken: Corpus, tmp_path: Path) -> None:
    card, described = (describe_release(spoken.store, spoken.release)[name].decode() for name in (CARD, "croissant.json"))
    _, sha256 = spoken.release.codec("moved")
    assert f"| `moved` | `moved.safetensors` | `{sha256[:16]}` | `<key>.codes.moved.npy` |" in card
    assert "| the first | `embedded` |" in card and "| `further_codes` |" in card
    assert "codec tokens of 2 codecs (the first, moved)" in json.loads(described)["description"]
    bare = spoken_release(tmp_path / "bare", per_recording=1)
    card, described = (describe_release(bare.store, bare.release)[name].decode() for name in (CARD, "croissant.json"))
    assert "## Codecs" not in card and "further_codes" not in card and "codecs" not in json.loads(described)["description"]
