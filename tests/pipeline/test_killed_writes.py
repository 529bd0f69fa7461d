"""What killed writes leave under a temporary name goes when it is old; files of others with such names stay."""

from datetime import timedelta
from pathlib import Path

from voxbeam.pipeline.gc import collect_garbage
from voxbeam.pipeline.verify import verify_release

from tests.pipeline.factories import small_release
from tests.pipeline.test_gc import DAY, LEFT, age


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
