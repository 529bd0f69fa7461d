"""A build makes missing and damaged files of a release again, with the same bytes and without model work."""

from pathlib import Path

import pytest

from voxbeam.pipeline.build import BuildResult
from voxbeam.pipeline.verify import verify
from voxbeam.storage.releases import read_release
from voxbeam.storage.store import Store

from tests.pipeline.test_build import copy_speakers, run_build, visible_bytes

pytestmark = pytest.mark.build


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two releases, the second of which extends the first; an empty file is in quarantine."""
    folder = tmp_path_factory.mktemp("grown")
    source = copy_speakers(folder / "in", "kennedy")
    (source / "empty.wav").touch()
    run_build(source, folder / "out")
    copy_speakers(source, "austen_reader")
    run_build(source, folder / "out")
    return folder


def harm(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if how != "remove":
        path.write_bytes(bytes(content) if how == "flip" else bytes(content[:-1]))


def build_again(folder: Path) -> BuildResult:
    return run_build(folder / "in", folder / "out")


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("how", ["remove", "cut"])
def test_every_kind_of_file_is_healed_at_once(number: int, how: str, grown: Path) -> None:
    output = grown / "out"
    before = visible_bytes(output)
    for kind in ("shard", "samples", "rejected", "recordings", "shards", "shard_list", "phones", "card", "croissant"):
        files = [file for file in read_release(Store(str(output)), number).files_of_kind(kind) if file.bytes]
        for file in files[:1]:
            harm(output / file.path, how)
    assert visible_bytes(output) != before and verify(str(output), number)
    result = build_again(grown)
    assert visible_bytes(output) == before
    assert (result.committed, bool(result.changes), result.progress.units, result.progress.seconds) == (False, False, 0, {})
    assert verify(str(output), 1) == verify(str(output), 2) == []
