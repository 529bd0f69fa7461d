"""Release: reads back what it wrote, and refuses what it does not know."""

import json

import pytest

from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release, ReleaseFile


def release() -> Release:
    files = (
        ReleaseFile(path="shards/a.tar", kind="shard", sha256="aa", bytes=3, rows=1),
        ReleaseFile(path="m/samples/a.parquet", kind="samples", sha256="bb", bytes=4, rows=2),
    )
    return Release(
        number=3, parent=2, fingerprint="f", config={"segment": {"min_s": 2.0}}, models={"m": "é"}, counts={"n": 1}, files=files
    )  # fmt: skip


def test_round_trip() -> None:
    assert Release.from_json(release().to_json()) == release()
    assert release().to_json() == release().to_json()
    assert release().name == "000003"
    assert [file.path for file in release().files_of_kind("shard")] == ["shards/a.tar"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe", b'{"version": 2}', b'{"version": 1}'])
def test_what_is_not_a_release_is_refused(content: bytes) -> None:
    with pytest.raises(SchemaError):
        Release.from_json(content)


def test_unknown_and_missing_fields_are_refused() -> None:
    tree = json.loads(release().to_json())
    for wrong in ({**tree, "mood": "good"}, {k: v for k, v in tree.items() if k != "counts"}):
        with pytest.raises(SchemaError):
            Release.from_json(json.dumps(wrong).encode())
