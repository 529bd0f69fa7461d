"""Releases: one commit, whoever tries, and as often as he likes."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from posixpath import normpath

import pytest

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.steps.release_writer import commit, table_bytes, write_part
from voxbeam.schemas.columns import to_table
from voxbeam.schemas.errors import CommitConflictError, SchemaError
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import latest_release, read_release, read_rows, release_numbers
from voxbeam.storage.store import Store

from tests.pipeline.factories import PHONES, draft, member, small_release


def rows(*names: str) -> list[RecordingRow]:
    story = {"status": "quarantined", "units": [], "stage": "probe", "reason": "x", "remedy": "y"}
    return [RecordingRow(recording=name, uri=name, **story) for name in names]


def try_commit(store: Store, name: str) -> Release | CommitConflictError:
    files = [write_part(store, "recordings", name, list(rows(name)))]
    try:
        return commit(store, draft(fingerprint=name), files, {"recordings": 1}, PHONES)
    except CommitConflictError as error:
        return error


def test_no_release_yet(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert latest_release(store) is None and release_numbers(store) == []


def test_commit_twice_is_one_release(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    files = [write_part(store, "recordings", "part", list(rows("a", "b")))]
    first = commit(store, draft(), files, {"recordings": 2}, PHONES)
    before = dict(store.walk())
    assert commit(store, draft(), files, {"recordings": 2}, PHONES) == first
    assert dict(store.walk()) == before and release_numbers(store) == [1]
    assert latest_release(store) == read_release(store, 1) == first


def test_parts_move_into_the_release(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    assert not list(store.walk("manifests/parts/"))
    assert all(store.exists(file.path) for file in release.files)
    assert {f.path.split("/")[1][:7] for f in release.files if f.kind != "shard"} == {"000001-"}
    assert len(list(read_rows(store, release, SampleRow))) == 5
    assert release.files_of_kind("phones")[0].rows == 5


def test_a_release_describes_itself_wherever_it_is(tmp_path: Path) -> None:
    """Its card and its Croissant name neither the place nor the folder: the release file is the same, byte for byte."""
    store, release = small_release(tmp_path / "here")
    _, other = small_release(tmp_path / "quite" / "elsewhere")
    assert release.to_json() == other.to_json()
    (card,), (croissant,) = (release.files_of_kind(kind) for kind in DESCRIPTIONS)
    text, tree = store.get(card.path).decode(), json.loads(store.get(croissant.path))
    assert "# speech-corpus, release 000001" in text and "in 5 samples" in text and "voxbeam audit --result" in text
    assert tree["version"] == "1.0.0" and text.count("\n") == card.rows
    folder = card.path.rpartition("/")[0]
    for file in tree["distribution"]:
        if "sha256" in file:
            assert hashlib.sha256(store.get(normpath(f"{folder}/{file['contentUrl']}"))).hexdigest() == file["sha256"]


def test_second_of_two_drafts_is_told_and_the_first_is_intact(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = try_commit(store, "one")
    assert isinstance(try_commit(store, "two"), CommitConflictError)
    assert latest_release(store) == first
    assert [row.recording for row in read_rows(store, first, RecordingRow)] == ["one"]


def test_of_racing_drafts_exactly_one_wins(tmp_path: Path) -> None:
    for attempt in range(10):
        store = Store(str(tmp_path / str(attempt)))
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda name: try_commit(store, name), "abcd"))  # noqa: B023
        (winner,) = [result for result in results if isinstance(result, Release)]
        assert latest_release(store) == winner
        assert [row.recording for row in read_rows(store, winner, RecordingRow)] == [winner.fingerprint]


def test_drafts_that_share_a_part_do_not_harm_each_other(tmp_path: Path) -> None:
    """The winner clears its parts away while the loser still means to place the same ones: told as a lost race, not a crash."""
    store = Store(str(tmp_path))
    shared = write_part(store, "recordings", "part", list(rows("a")))
    winner = commit(store, draft(fingerprint="one"), [shared], {}, PHONES)
    other = write_part(store, "recordings", "other", list(rows("b")))
    with pytest.raises(CommitConflictError):
        commit(store, draft(fingerprint="two"), [shared, other], {}, PHONES)
    assert latest_release(store) == winner and all(store.exists(file.path) for file in winner.files)


def test_parquet_bytes_are_the_same_every_time() -> None:
    made = [member("a", start).row for start in range(0, 100_000, 3000)]
    assert table_bytes(to_table(SampleRow, made)) == table_bytes(to_table(SampleRow, made))
    assert table_bytes(to_table(SampleRow, made)) != table_bytes(to_table(SampleRow, made[::-1]))


def test_impossible_rows_are_not_put(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(SchemaError):
        write_part(store, "recordings", "part", [RecordingRow(recording="a", uri="x", status="lost", units=[])])
    assert not list(store.walk())
