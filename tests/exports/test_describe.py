"""What an export and a release say of themselves: the card, and Croissant, which its own library reads."""

import json
from pathlib import Path

import mlcroissant
import pytest
import yaml

from voxbeam.corpus import Corpus
from voxbeam.exports.describe import DESCRIPTIONS, describe_release
from voxbeam.exports.export import export
from voxbeam.exports.target import CARD

from tests.exports.compared import rows
from tests.spoken_release import spoken_release

pytestmark = pytest.mark.slow


def test_the_card_says_what_the_audio_is(spoken: Corpus, out: Path) -> None:
    assert export(spoken, "shar", str(out)).sound == "kept"
    assert "The recording of a cut is the FLAC that was kept in the shard, mono, 24 kHz" in (out / CARD).read_text(
        encoding="utf-8"
    )


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


def test_card_and_croissant_name_every_codec(spoken: Corpus, tmp_path: Path) -> None:
    card, described = (describe_release(spoken.store, spoken.release)[name].decode() for name in (CARD, "croissant.json"))
    _, sha256 = spoken.release.codec("moved")
    assert f"| `moved` | `moved.safetensors` | `{sha256[:16]}` | `<key>.codes.moved.npy` |" in card
    assert "| the first | `embedded` |" in card and "| `further_codes` |" in card
    assert "codec tokens of 2 codecs (the first, moved)" in json.loads(described)["description"]
    bare = spoken_release(tmp_path / "bare", per_recording=1)
    card, described = (describe_release(bare.store, bare.release)[name].decode() for name in (CARD, "croissant.json"))
    assert "## Codecs" not in card and "further_codes" not in card and "codecs" not in json.loads(described)["description"]
