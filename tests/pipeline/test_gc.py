"""What no release refers to can go; nothing else ever does."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline import gc
from voxbeam.pipeline.gc import collect_garbage, find_orphans
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat, read_heartbeat
from voxbeam.pipeline.steps.policy_object import put_policy
from voxbeam.pipeline.steps.release_writer import commit
from voxbeam.pipeline.steps.unit_file import unit_path
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import SchemaError, StorageError
from voxbeam.schemas.policy import Policy
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.releases import release_numbers
from voxbeam.storage.store import Store

from tests.pipeline.factories import LEFT, PHONES, age, draft, result, small_release

DAY = timedelta(days=1)


def tomorrow() -> datetime:
    return datetime.now(UTC) + DAY


def test_a_release_stands_on_nothing_that_goes(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    for path in LEFT:
        store.put_if_absent(path, b"left by a killed build")
    found = find_orphans(store, DAY, tomorrow() + DAY)
    assert {orphan.path for orphan in found} >= set(LEFT)
    assert not {orphan.path for orphan in found} & {file.path for file in release.files}
    store.delete([orphan.path for orphan in found])
    assert list(verify_release(store, release)) == []


def test_every_file_of_a_corpus_has_a_name_that_is_known(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    put_policy(store, Policy.of(CorpusConfig()))
    made_up = unit_path("u0")  # the factory's unit has a name of its own
    written = [path for path, _ in store.walk() if path.split("/")[0] in (*gc.FOLDERS, "releases") and path != made_up]
    unit = result(0, 0, 1000, 1000).unit
    assert len(written) > 5 and all(map(is_own, [*written, *(file.path for file in release.files), unit_path(unit.name)]))


@pytest.mark.parametrize("released", [True, False])
def test_files_of_others_stay(released: bool, tmp_path: Path) -> None:
    """An output may be a folder that has units/ or shards/ of its user: what voxbeam did not name, it does not delete."""
    if released:
        store, _ = small_release(tmp_path)
    else:
        store = Store(str(tmp_path))
    others = (
        "units/anna/a.wav", "units/ab/left.arrow", "shards/other-000001.tar", "shards/train/train-000001.tar",
        "shards/train/train-000001-0123456789abcdef.tar.bak", "manifests/train.jsonl", "manifests/parts/mine.parquet",
        "listings/mine.parquet", "progress/report.pdf", "progress/january/notes.txt",
    )  # fmt: skip
    for path in others:
        store.put_if_absent(path, b"somebody's")
    age(tmp_path, timedelta(days=30))
    if released:
        collect_garbage(str(tmp_path), DAY)
    else:
        with pytest.raises(StorageError, match="no corpus"):
            collect_garbage(str(tmp_path), DAY)
    assert all(store.exists(path) for path in others)


def test_what_is_young_stays(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"work that a build may resume from")
    assert find_orphans(store, timedelta(hours=25), tomorrow()) == []


def test_nothing_goes_while_a_build_runs(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    with heartbeat(store, "ab12", BuildInfo()):
        with pytest.raises(StorageError, match="build ab12 is running"):
            collect_garbage(str(tmp_path), timedelta(0))
        assert read_heartbeat(store, "ab12").running  # `status` says the same
    assert store.exists(LEFT[0])
    age(tmp_path / "progress", timedelta(minutes=2))
    assert not read_heartbeat(store, "ab12").running
    assert LEFT[0] in {orphan.path for orphan in collect_garbage(str(tmp_path), timedelta(0))}


def test_a_job_that_a_cluster_runs_alone_is_given_an_hour(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    with heartbeat(store, "ab12", BuildInfo(detached=True)):
        pass
    age(tmp_path / "progress", timedelta(minutes=50))
    with pytest.raises(StorageError, match="is running"):
        collect_garbage(str(tmp_path), timedelta(0))
    age(tmp_path / "progress", timedelta(minutes=70))
    collect_garbage(str(tmp_path), timedelta(0))


def test_what_killed_writes_leave_goes_when_it_is_old(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    left = [f"{path}#{2**60 - 1}" for path in (*LEFT, "releases/000009.json", "copies/000009.json", f"gc/{'ab' * 16}.json")]
    others = ["units/anna#12/a.wav", "units/a.arrow#1", f"{LEFT[0]}#", f"{LEFT[0]}#x", "mine/a.json#12", "manifests/notes#3"]
    for path in (*left, *others):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"half a write")
    away = tmp_path / "away" / Path(LEFT[0]).parent
    away.mkdir(parents=True)
    (away / f"{'0' * 16}.arrow#5").write_bytes(b"behind a link")
    (tmp_path / "units" / "ff").symlink_to(tmp_path / "away" / "units" / "ab")
    collect_garbage(str(tmp_path), timedelta(hours=1))
    assert all((tmp_path / path).exists() for path in left), "its writer may be at work"
    age(tmp_path, DAY)
    assert {orphan.path for orphan in collect_garbage(str(tmp_path), DAY / 2)} >= set(left)
    assert [path for path in left if (tmp_path / path).exists()] == []
    assert all((tmp_path / path).exists() for path in others) and len(list(away.iterdir())) == 1
    assert list(verify_release(store, release)) == []


def test_a_release_with_a_missing_file_is_not_committed(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    shard = release.files_of_kind("shard")[0]
    store.delete([shard.path])
    with pytest.raises(StorageError, match="is gone"):
        commit(store, draft(2), [shard], {}, PHONES)
    store.replace(shard.path, b"short")
    with pytest.raises(StorageError, match="does not have"):
        commit(store, draft(2), [shard], {}, PHONES)


def test_nothing_outside_the_corpus_goes(tmp_path: Path) -> None:
    corpus, outside = tmp_path / "corpus", tmp_path / "outside"
    store, _ = small_release(corpus)
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "mine.txt").write_text("mine")
    (outside / "mine.arrow").write_text("mine")
    (corpus / "units" / "zz").symlink_to(outside / "folder")
    (corpus / "units" / "ab").mkdir(exist_ok=True)
    (corpus / "units" / "ab" / "link.arrow").symlink_to(outside / "mine.arrow")
    os.mkfifo(corpus / "units" / "ab" / "fifo.arrow")
    store.put_if_absent(LEFT[0], b"x")
    assert {orphan.path for orphan in collect_garbage(str(corpus), timedelta(0))} == {LEFT[0]}
    assert (outside / "folder" / "mine.txt").exists() and (outside / "mine.arrow").exists()


def test_one_wrong_character_in_a_release_deletes_nothing(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    path = release.files_of_kind("shard")[0].path
    wrong = path.replace("-000000-", "-000001-")
    store.replace("releases/000001.json", release.to_json().replace(path.encode(), wrong.encode()))
    with pytest.raises(SchemaError, match="does not match its own checksum"):
        collect_garbage(str(tmp_path), timedelta(0))
    files = tuple(replace(file, path=wrong) if file.path == path else file for file in release.files)
    store.replace("releases/000001.json", replace(release, files=files).to_json())  # even if the checksum was made to fit
    with pytest.raises(StorageError, match="does not exist") as caught:
        collect_garbage(str(tmp_path), timedelta(0))
    assert wrong in str(caught.value) and store.exists(path)


def test_ages_are_by_the_clock_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is two hours ahead deletes nothing that is young."""
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 1e12)
        assert collect_garbage(str(tmp_path), timedelta(minutes=5)) == []
    age(tmp_path / "units", timedelta(minutes=6))
    assert [orphan.path for orphan in collect_garbage(str(tmp_path), timedelta(minutes=5))] == [LEFT[0]]


def test_files_of_others_among_the_releases(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    for name in ("._000001.json", "000001.json.bak", "notes.json", ".DS_Store"):
        store.replace(f"releases/{name}", b"\x00not a release")
    assert release_numbers(store) == [1]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, release = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    assert main(["gc", "--output", str(tmp_path), "--older-than", "0", "--dry-run"]) == DONE
    assert "dry-run" in capsys.readouterr().out and store.exists(LEFT[0])
    assert main(["gc", "--output", str(tmp_path), "--older-than", "0"]) == DONE
    assert "Deleted" in capsys.readouterr().out and not store.exists(LEFT[0])
    assert list(verify_release(store, release)) == []
    with heartbeat(store, "ab12", BuildInfo()):
        assert main(["gc", "--output", str(tmp_path), "--older-than", "0"]) == UNUSABLE
