"""Corpus: a release as readers see it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from voxbeam.corpus import Corpus
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.schemas.errors import ModelError, NotInCorpusError, StorageError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.releases import read_rows

from tests.pipeline.factories import WITH_SEPARATOR, member, release_of, small_release, unit_row


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    small_release(tmp_path)
    return Corpus(str(tmp_path))


def test_samples_of_a_split_and_of_all(corpus: Corpus) -> None:
    assert corpus.name == "000001"
    assert corpus.samples("train", ["key"]).read_all()["key"].to_pylist() == [
        "r_00000000_00002000",
        "r_00003000_00005000",
        "r_00007000_00009000",
    ]
    assert corpus.samples(columns=["split", "text"]).schema.names == ["split", "text"]
    assert corpus.samples("valid").read_all().num_rows == 2 and corpus.samples().read_all().num_rows == 5
    assert corpus.samples("test", ["key"]).read_all().num_rows == 0
    assert corpus.recordings(["recording"]).read_all()["recording"].to_pylist() == ["q", "r"]
    assert corpus.rejected().read_all()["reasons"].to_pylist() == [["low_snr"]]


def test_duckdb_queries_the_samples(corpus: Corpus) -> None:
    samples = corpus.samples(columns=["speaker", "duration_ms"])
    rows = duckdb.sql("SELECT speaker, sum(duration_ms) FROM samples GROUP BY 1 ORDER BY 1").fetchall()
    assert rows == [("speaker_q", 4000), ("speaker_r", 6000)]
    assert samples.schema.names == ["speaker", "duration_ms"]


def test_the_codes_of_a_further_codec(tmp_path: Path) -> None:
    small_release(tmp_path, codecs=("one", "two"))
    corpus, two = Corpus(str(tmp_path)), Corpus(str(tmp_path), codec_name="two")
    for key in corpus.samples(columns=["key"]).read_all()["key"].to_pylist():
        np.testing.assert_array_equal(two.codes(key), (corpus.codes(key) + 2) % 1024)
    places = corpus.samples(columns=["key", "further_codes"]).read_all()["further_codes"].to_pylist()
    assert [[one["codec"] for one in some] for some in places] == [["one", "two"]] * 5
    assert "further_codes" not in corpus.samples().schema.names
    (row,) = two.find("r_00000000_00002000")
    assert row["further_codes"][1]["codec"] == "two"
    with pytest.raises(ModelError, match=r"cannot be loaded: there is no model at /two\.safetensors"):
        two.sound(row)
    assert two.stream("train").codec == "two"
    with pytest.raises(NotInCorpusError, match="no further codec 'three'") as caught:
        Corpus(str(tmp_path), codec_name="three")
    assert "one, two" in str(caught.value.remedy)


def test_shards_are_full_addresses(corpus: Corpus, tmp_path: Path) -> None:
    assert len(corpus.shards()) == 2 and all(Path(shard).is_file() for shard in corpus.shards())
    (train,) = corpus.shards("train")
    assert train.startswith(f"{tmp_path}/shards/train/")


def test_codes_of_every_key(corpus: Corpus) -> None:
    for row in read_rows(corpus.store, corpus.release, SampleRow):
        expected = np.frombuffer(unit_row(row.recording, row.start_ms).codes or b"", np.int16).reshape(8, -1)
        np.testing.assert_array_equal(corpus.codes(row.key), expected)


def test_damaged_codes_are_refused(corpus: Corpus) -> None:
    shard = Path(corpus.shards("train")[0])
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="damaged"):
        corpus.codes("r_00000000_00002000")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda corpus: corpus.codes("r_1"), "no sample 'r_1'"),
        (lambda corpus: corpus.samples("dev"), "no split 'dev'; the splits are train, valid, test"),
        (lambda corpus: corpus.shards("dev"), "no split 'dev'"),
        (lambda corpus: corpus.samples(columns=["speakr"]), "no column 'speakr'; the columns are key, "),
    ],
)
def test_what_is_not_there_is_named(corpus: Corpus, ask: Callable[[Corpus], object], words: str) -> None:
    with pytest.raises(NotInCorpusError) as caught:
        ask(corpus)
    assert words in str(caught.value) and isinstance(caught.value, KeyError)


def test_a_release_that_is_not_there(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="has no release 7; there are: 1"):
        Corpus(str(tmp_path), 7)
    with pytest.raises(StorageError, match="there is no corpus at"):
        Corpus(str(tmp_path / "empty"))


def test_audio_comes_from_the_codec_that_made_the_codes(corpus: Corpus) -> None:
    key = "r_00000000_00002000"
    config = {"tokenize": {"codec": "embedded"}}
    corpus.release = replace(corpus.release, config=config)
    with pytest.raises(ModelError, match=r"sha256.*Corpus\(uri, codec="):
        corpus.audio(key)
    corpus.release = replace(corpus.release, models={"tokenize": sha256_of(EMBEDDED_WEIGHTS)})
    wave = corpus.audio(key)
    assert wave.dtype == np.float32 and wave.shape == (corpus.codes(key).shape[1] * 320,)


def test_stream_of_a_split(tmp_path: Path) -> None:
    assert WITH_SEPARATOR
    release_of(tmp_path, {"train": [member(start_ms=start) for start in range(0, 40_000, 4000)]})
    batches, _ = next(Corpus(str(tmp_path)).stream("train").steps())
    assert sum(len(batch.keys) for batch in batches) > 0


def test_reading_imports_neither_beam_nor_torch(tmp_path: Path) -> None:
    small_release(tmp_path)
    program = (
        "import sys; from voxbeam.corpus import Corpus; corpus = Corpus(sys.argv[1]); corpus.samples().read_all(); "
        "corpus.codes('r_00000000_00002000'); print([name for name in ('apache_beam', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
