"""Verify finds what is whole but not true: a replaced source, a forged unit; and --repair deletes what is damaged only."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.main import main
from voxbeam.pipeline.events import VerifyProgress
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat
from voxbeam.pipeline.repair import delete_damaged
from voxbeam.pipeline.steps.unit_file import _MAGIC, _open
from voxbeam.pipeline.verify import verify
from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import ModelError, StorageError
from voxbeam.schemas.manifest import UnitRow
from voxbeam.storage.releases import load_release
from voxbeam.storage.store import Store

from tests.pipeline.factories import small_release
from tests.pipeline.test_build import copy_speakers, run_build, visible_bytes

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run_build(copy_speakers(folder / "in", "kennedy"), folder / "out")
    return folder


@pytest.fixture
def again(built: Path) -> Any:
    """The corpus and its source, put back as they were after the test."""
    shutil.copytree(built, built.with_name("kept"))
    yield built
    shutil.rmtree(built)
    built.with_name("kept").rename(built)


def verified(folder: Path, **options: Any) -> tuple[list[str], dict[str, VerifyProgress]]:
    events: dict[str, VerifyProgress] = {}
    problems = verify(str(folder / "out"), **options, on_progress=lambda event: events.update({event.phase: event}))
    return [problem.what for problem in problems], events


def test_a_true_corpus_has_no_problem(built: Path) -> None:
    problems, events = verified(built, recheck=0.01, rederive=3)
    assert problems == []
    assert (events["recheck"].total, events["rederive"].total, events["recheck"].unreachable) == (1, 1, 0)


def test_a_replaced_source_is_found(again: Path) -> None:
    (audio,) = (again / "in").rglob("*.flac")
    (other,) = copy_speakers(again / "more", "austen_reader").rglob("*.flac")
    shutil.copyfile(other, audio)
    (what,), _ = verified(again, recheck=0.01)
    assert what.startswith("its source has sha256 ")


def test_an_unreachable_source_is_counted_and_no_problem(again: Path) -> None:
    shutil.rmtree(again / "in")
    problems, events = verified(again, recheck=1.0, rederive=1)
    assert problems == []
    assert (events["recheck"].unreachable, events["rederive"].unreachable) == (1, 1)


@pytest.mark.parametrize("what", ["text", "further_codes", "peak"])
def test_a_forged_unit_with_a_fitting_checksum_is_found(what: str, again: Path) -> None:
    (path,) = (again / "out" / "units").rglob("*.arrow")
    reader = _open(path.read_bytes())
    table = reader.read_all()
    if what == "text":
        place = table.column_names.index("text")
        table = table.set_column(place, table.field("text"), pa.array(["forged"] * len(table)))
    elif what == "further_codes":
        added = arrow_schema(UnitRow, extras=True).field(what)
        table = table.append_column(
            added, pa.array([[{"codec": "x", "codes": codes.as_py()}] for codes in table["codes"]], added.type)
        )
    else:
        header = {**json.loads(table.schema.metadata[b"unit"]), "peak": 0.0}
        table = table.replace_schema_metadata({**table.schema.metadata, b"unit": json.dumps(header).encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    path.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)
    assert verified(again)[0] == []
    (problem,), _ = verified(again, rederive=1)
    assert problem.endswith(f"made again, its {'' if what == 'peak' else 'column '}{what} differs")


def test_units_of_other_models_are_not_compared(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxbeam.pipeline.recheck.model_hashes", lambda config: {"tokenize": "1" * 64})
    with pytest.raises(ModelError, match="made with other models: model tokenize"):
        verified(built, rederive=1)


def test_repair_deletes_flipped_files_and_the_build_makes_them_again(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, flipped = visible_bytes(again / "out"), []
    release = load_release(Store(str(again / "out")))
    for kind in ("shard", "samples", "recordings", "shards", "phones"):
        path = again / "out" / release.files_of_kind(kind)[0].path
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        flipped.append(release.files_of_kind(kind)[0].path)
    assert main(["verify", "--output", str(again / "out"), "--repair", "--json"]) == WRONG
    printed = capsys.readouterr()
    assert sorted(json.loads(printed.out)["deleted"]) == sorted(flipped)
    assert "Run the `voxbeam build` command of this corpus again" in printed.err
    assert before.keys() - visible_bytes(again / "out").keys() == set(flipped)
    result = run_build(again / "in", again / "out")
    assert (visible_bytes(again / "out"), result.committed, result.progress.units) == (before, False, 0)
    assert main(["verify", "--output", str(again / "out"), "--repair"]) == DONE


def test_repair_deletes_nothing_else_and_never_while_a_build_runs(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    paths = [file.path for file in release.files]
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody's")
    (tmp_path / paths[0]).unlink()
    (tmp_path / paths[0]).symlink_to(outside)
    (tmp_path / paths[1]).write_bytes(b"damaged")
    (tmp_path / "mine.txt").write_bytes(b"mine")
    with heartbeat(store, "ab12", BuildInfo()), pytest.raises(StorageError, match="ab12 is running"):
        delete_damaged(store, release, paths)
    shutil.rmtree(tmp_path / "progress")
    assert delete_damaged(store, release, [*paths, "mine.txt", "../outside"]) == [paths[1]]
    assert outside.read_bytes() == b"somebody's" and (tmp_path / "mine.txt").exists()
