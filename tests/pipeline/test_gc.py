"""What no release refers to can go; nothing else ever does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.gc import find_orphans
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.errors import StorageError

from tests.pipeline.factories import small_release

DAY = timedelta(days=1)
LEFT = (
    "units/ab/left.arrow",
    "shards/train/train-000000-left.tar",
    "manifests/000009-left/samples/x.parquet",
    "listings/x.parquet",
)


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


def test_what_is_young_stays(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"work that a build may resume from")
    assert find_orphans(store, timedelta(hours=25), tomorrow()) == []


def test_nothing_goes_while_a_build_runs(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    store.replace("progress/run/host-1.json", b"{}")
    with pytest.raises(StorageError, match="is running"):
        find_orphans(store, timedelta(0), datetime.now(UTC))
    assert "progress/run/host-1.json" in {orphan.path for orphan in find_orphans(store, timedelta(0), tomorrow())}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, release = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    assert main(["gc", "--output", str(tmp_path), "--older-than", "0", "--dry-run"]) == DONE
    assert "dry-run" in capsys.readouterr().out and store.exists(LEFT[0])
    assert main(["gc", "--output", str(tmp_path), "--older-than", "0"]) == DONE
    assert "Deleted" in capsys.readouterr().out and not store.exists(LEFT[0])
    assert list(verify_release(store, release)) == []
    store.replace("progress/run/host-1.json", b"{}")
    assert main(["gc", "--output", str(tmp_path), "--older-than", "0"]) == UNUSABLE
