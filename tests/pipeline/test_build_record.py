"""The times of a build stay after it, beside the releases."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from voxbeam.commands.documents import status_document
from voxbeam.commands.status import print_status
from voxbeam.pipeline.build_record import latest_record, write_record
from voxbeam.pipeline.gc import collect_garbage
from voxbeam.pipeline.progress import SlowUnit, WorkerProgress
from voxbeam.pipeline.status import read_status
from voxbeam.transforms.chain import STAGES

from tests.pipeline.factories import small_release
from tests.pipeline.test_build import copy_speakers, run_build

SLOW = SlowUnit(recording="r", start_ms=0, end_ms=9000, seconds=5.0, stage="transcribe", stage_seconds=4.0)


def test_a_record_is_read_as_it_was_written_and_never_collected(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    assert latest_record(store) is None and read_status(store.root).last_build is None
    workers = WorkerProgress(units=2, damaged_units=1, seconds={"transcribe": 4.0}, audio_ms={"transcribe": 9000}, slowest=[SLOW])
    for release, run_id in ((2, "aa"), (1, "zz")):
        write_record(
            store, release=release, run_id=run_id, wall_s=90.0, recordings=3, libraries="torch=2 soxr=1", workers=workers
        )
    record = read_status(store.root).last_build
    assert record is not None and (record.release, record.run_id, record.workers) == (2, "aa", workers)
    assert datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started) == timedelta(seconds=90)
    assert record.versions.items() >= {"torch": "2", "soxr": "1"}.items() and "voxbeam" in record.versions
    collect_garbage(store.root, timedelta())
    assert latest_record(store) == record
    console = Console(width=200)
    with console.capture() as printed:
        print_status(read_status(store.root), console)
    assert "Build aa of release 000002: 90 s" in printed.get() and "transcribe, 4.0 s" in printed.get()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"workers": 1}', b'{"workers": {"slowest": []}}', b"\xff"])
def test_a_damaged_record_is_passed_over(content: bytes, tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    store.put_if_absent("builds/000001-aa.json", content)
    assert read_status(store.root).last_build is None


@pytest.mark.build
def test_a_build_leaves_its_record(tmp_path: Path) -> None:
    source = copy_speakers(tmp_path / "in", "kennedy")
    result = run_build(source, tmp_path / "out")
    run_build(source, tmp_path / "out")  # adds nothing, and leaves no record
    (path,) = (tmp_path / "out" / "builds").iterdir()
    status = read_status(str(tmp_path / "out"))
    record = status.last_build
    assert record is not None and path.name == f"000001-{record.run_id}.json"
    assert record.workers == result.progress and set(record.workers.seconds) == set(STAGES)
    assert status_document(status)["last_build"]["workers"]["units"] == 1
