"""Exports of a release with several codecs."""

from pathlib import Path

import datasets
import lhotse
import numpy as np
import pytest

from voxbeam.corpus import Corpus
from voxbeam.exports.export import export
from voxbeam.exports.hugging_face import export_schema
from voxbeam.exports.target import CARD
from voxbeam.schemas.errors import ModelError, StorageError, VoxbeamError

from tests.exports.compared import objects, rows
from tests.spoken_release import spoken_release

pytestmark = pytest.mark.slow


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
