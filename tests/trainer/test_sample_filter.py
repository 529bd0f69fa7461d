"""A run that learns from a part of a release: which samples, and that it goes on with the same part only."""

from pathlib import Path

import pytest

from voxbeam.schemas.errors import ConfigError
from voxbeam.storage.releases import load_release
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import forget_index, open_index
from voxbeam.trainer.data.sample_filter import SampleFilter
from voxbeam.trainer.data.stream import Stream, StreamConfig

from tests.pipeline.factories import member, release_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Speakers a and b in turn; the fourth sample has no score."""
    snr = [10.0, 20.0, 30.0, None, 40.0, 50.0]
    members = [
        member("r", 3000 * n, speaker="ab"[n % 2], snr_db=snr[n], language="en" if n < 5 else "de", ms=1000 + 200 * n)
        for n in range(6)
    ]
    return release_of(tmp_path_factory.mktemp("filtered"), {"train": members}).root


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("snr_db >= 20", [1, 2, 4, 5]),
        ("speaker = 'a' AND language = 'en'", [0, 2, 4]),
        ("snr_db IS NULL OR duration_ms > 1900", [3, 5]),
        ("license = 'CC0-1.0' -- all of them", [0, 1, 2, 3, 4, 5]),
        ("text NOT LIKE '%select random() from now;%' AND regexp_matches(key, '_0001')", [3, 4, 5]),
    ],
)
def test_samples_for_which_it_holds(corpus: str, condition: str, kept: list[int]) -> None:
    whole, index = open_index(corpus), open_index(corpus, data_filter=condition)
    assert [index.key(n) for n in range(len(index))] == [whole.key(n) for n in kept]
    assert index.content_hash != whole.content_hash
    stream = Stream(corpus, config=StreamConfig(data_filter=condition))
    assert sorted(key for batches, _ in stream.epoch_steps() for batch in batches for key in batch.keys) == sorted(
        whole.key(n) for n in kept
    )
    assert stream.facts["filter"] == condition and "filter" not in Stream(corpus).facts
    assert stream.facts["samples"] != Stream(corpus).facts["samples"]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("snr > 20", "names no column"),
        ("snr_db > 20 AND quality > 3", "quality"),
        ("snr_db >", "syntax error"),
        ("random() < 0.5 AND snr_db > 1", "random has no use"),
        ("snr_db > 1 /* it's loud */ OR random() < 0.5 /* it's not */", "random has no use"),
        ("speaker <> $$'$$ AND snr_db > random() AND speaker <> $$'$$", "random has no use"),
        ("current_timestamp > '2020-01-01' OR snr_db > 1", "current_timestamp has no use"),
        ("snr_db > (SELECT avg(snr_db) FROM one_batch)", "from, select has no use"),
        ("snr_db > avg(snr_db)", "aggregates"),
        ("row_number() OVER () < 3 AND snr_db > 1", "window functions"),
        ("snr_db > 1) OR (true); DROP TABLE x", "; has no use"),
        ("speaker IN (read_text('x'))", "read_text"),
    ],
)
def test_a_condition_that_cannot_be_used_is_named(corpus: str, condition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"data_filter .* cannot be used") as caught:
        open_index(corpus, data_filter=condition)
    assert message.lower() in caught.value.message.lower()


def test_a_filter_that_leaves_nothing_or_has_no_tables(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds for no sample of train"):
        open_index(corpus, data_filter="speaker = 'c'")
    for shard in Path(corpus).rglob("*.tar"):
        (tmp_path / "tars").mkdir(exist_ok=True)
        (tmp_path / "tars" / shard.name).write_bytes(shard.read_bytes())
    with pytest.raises(ConfigError, match="needs a release"):
        open_index(str(tmp_path / "tars"), data_filter="speaker = 'a'")


def test_what_is_forgotten_of_a_release_is_its_parts_too(corpus: str, tmp_path: Path) -> None:
    """A takedown deletes from the cache what is there of a release: texts of filtered indexes are texts."""
    for condition in ("", "speaker = 'a'"):
        open_index(corpus, data_filter=condition)
    assert len(list((tmp_path / "cache" / "stream").iterdir())) == 2
    forget_index(load_release(Store(corpus), None))
    assert not list((tmp_path / "cache" / "stream").iterdir())


def test_a_condition_is_asked_row_by_row() -> None:
    """Whatever the size of the batches."""
    import pyarrow as pa

    rows: list[dict] = [{"speaker": "ab"[n % 2], "snr_db": float(n)} for n in range(100)]
    schema = pa.schema([("speaker", pa.string()), ("snr_db", pa.float32())])
    chosen = SampleFilter("speaker = 'a' AND snr_db % 3 = 0")
    for size in (1, 7, 100):
        batches = (pa.RecordBatch.from_pylist(rows[at : at + size], schema=schema) for at in range(0, 100, size))
        kept = [row for batch in chosen.keep(batches) for row in batch.to_pylist()]
        assert kept == [row for row in rows if row["speaker"] == "a" and row["snr_db"] % 3 == 0]
