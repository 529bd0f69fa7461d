"""Release: reads back what it wrote, and refuses what it does not know."""

import json

import pytest

from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release, ReleaseFile, _checksum


def release() -> Release:
    files = (
        ReleaseFile(path="shards/a.tar", kind="shard", sha256="a" * 64, bytes=3, rows=1),
        ReleaseFile(path="manifests/m/samples/a.parquet", kind="samples", sha256="b" * 64, bytes=4, rows=2),
    )
    return Release(
        number=3, parent=2, code_version=1, fingerprint="f", config={"segment": {"min_s": 2.0}}, models={"m": "é"},
        counts={"n": 1}, files=files,
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


def sealed(**changes: object) -> bytes:
    """A release with other values, and the checksum that belongs to them."""
    tree = {**json.loads(release().to_json()), **changes}
    del tree["sha256"]
    tree = {name: value for name, value in tree.items() if value is not ...}
    return json.dumps({**tree, "sha256": _checksum(tree)}).encode()


def file(**changes: object) -> dict[str, object]:
    return {**json.loads(release().to_json())["files"][0], **changes}


def test_a_sealed_release_is_read() -> None:
    assert Release.from_json(sealed()) == release()


@pytest.mark.parametrize(
    "changes",
    [
        {"mood": "good"},
        {"counts": ...},
        {"counts": {"n": -1}},
        {"counts": {"n": "1"}},
        {"counts": {"n": True}},
        {"counts": []},
        {"number": "3"},
        {"number": 0},
        {"number": 2},
        {"parent": 0},
        {"config": "x"},
        {"models": {"m": 1}},
        {"files": {"a": 1}},
        {"files": [file(), file()]},
        {"files": [file(path="/etc/passwd")]},
        {"files": [file(path="shards/../../secret")]},
        {"files": [file(path="shards/./a.tar")]},
        {"files": [file(path="shards//a.tar")]},
        {"files": [file(path="progress/a.tar")]},
        {"files": [file(path="s3://other/a.tar")]},
        {"files": [file(path=3)]},
        {"files": [file(kind="mood")]},
        {"files": [file(sha256="aa")]},
        {"files": [file(bytes=-1)]},
        {"files": [file(bytes=1.5)]},
        {"files": [file(rows=True)]},
    ],
)
def test_wrong_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SchemaError):
        Release.from_json(sealed(**changes))


def test_every_changed_byte_is_found() -> None:
    content = release().to_json()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        try:
            assert Release.from_json(bytes(changed)) == release()  # white space
        except SchemaError:
            continue


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b'{"version": 2, "files": ' + b"9" * 10_000 + b"}"])
def test_deep_and_long_nonsense_is_refused(content: bytes) -> None:
    with pytest.raises(SchemaError):
        Release.from_json(content)
