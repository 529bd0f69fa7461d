"""An export that is stopped ends with the same bytes; a place that holds something else, and what cannot be had, are refused."""

import re
from pathlib import Path

import pytest

from voxbeam.corpus import Corpus
from voxbeam.exports.export import FORMATS, export
from voxbeam.exports.parts import part_tables, plan_parts
from voxbeam.exports.target import CARD, MARKER
from voxbeam.schemas.errors import NotInCorpusError, StorageError, VoxbeamError

from tests.exports.compared import objects, rows
from tests.spoken_release import spoken_release

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CASES = [(name, sound) for name, each in FORMATS.items() for sound in each.sounds]


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


def test_parts_hold_every_row_once_in_order(spoken: Corpus) -> None:
    parts = plan_parts(spoken.store, spoken.release, part_ms=4000)
    assert [(part.split, part.number, part.rows) for part in parts] == [
        ("train", 0, 2), ("train", 1, 2), ("valid", 0, 2), ("valid", 1, 2),
    ]  # fmt: skip
    tables = dict(part_tables(spoken.store, spoken.release, parts))
    assert [key for table in tables.values() for key in table["key"].to_pylist()] == list(rows(spoken))
    ((_, table),) = part_tables(spoken.store, spoken.release, parts[2:3])
    assert table["key"].to_pylist() == tables[parts[2]]["key"].to_pylist()


def test_the_example_of_the_documentation(spoken: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exports.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "docs/exports.md", "exec"), {"corpus": spoken})
    assert (tmp_path / "exported" / CARD).exists()
