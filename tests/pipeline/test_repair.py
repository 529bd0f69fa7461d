"""Repair: a damaged release file comes back byte for byte from its copy, or the error says what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from voxbeam.commands.main import main
from voxbeam.pipeline.repair import restore_releases
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release
from voxbeam.storage.release_copies import copy_path
from voxbeam.storage.releases import read_release, release_path

from tests.pipeline.factories import small_release

PATH = release_path(1)


def flipped(content: bytes, word: bytes) -> bytes:
    place = content.index(word) + len(word)
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: flipped(content, b'"samples": '),
        lambda content: flipped(content, b'\n "sha256": "'),
        lambda content: flipped(content, b'"version": '),
        lambda content: content.replace(b'"number": 1', b'"number": 2'),
        lambda content: json.dumps(json.loads(content)).encode()[:-1],
    ],
)
def test_a_damaged_release_is_put_back_as_it_was(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    content = store.get(PATH)
    store.replace(PATH, damage(content))
    with pytest.raises(SchemaError, match=r"releases/000001.json: .*voxbeam verify (--release 1 )?--repair"):
        read_release(store, 1)
    assert restore_releases(store) == [PATH]
    assert store.get(PATH) == content
    assert restore_releases(store) == []


@pytest.mark.parametrize("damage", [None, lambda content: content[:-1], lambda content: flipped(content, b'"samples": ')])
def test_without_a_good_copy_nothing_is_changed_and_the_remedy_says_what_to_do(
    damage: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    store, _ = small_release(tmp_path)
    if damage is None:
        store.delete([copy_path(1)])
    else:
        store.replace(copy_path(1), damage(store.get(copy_path(1))))
    damaged = store.get(PATH)[:-3]
    store.replace(PATH, damaged)
    assert restore_releases(store) == [] and store.get(PATH) == damaged
    with pytest.raises(SchemaError, match=r"no copy .* from a backup, or delete it and run the `voxbeam build` command"):
        read_release(store, 1)
    store.put_if_absent(release_path(2), b"{}")
    with pytest.raises(SchemaError, match="this one is lost"):
        read_release(store, 1)


def test_the_copy_of_another_release_of_that_number_is_not_put_back(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "a")
    tree = json.loads(store.get(PATH))
    files = tree.pop("files")
    del tree["sha256"], tree["version"]
    other = Release(**{**tree, "fingerprint": "another", "files": tuple(read_release(store, 1).files)})
    assert len(other.files) == len(files)
    store.replace(copy_path(1), other.to_json())
    store.replace(PATH, store.get(PATH)[:-2])
    assert restore_releases(store) == []


def test_the_command_says_what_it_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, _ = small_release(tmp_path)
    content = store.get(PATH)
    store.replace(PATH, flipped(content, b'"samples": '))
    assert main(["verify", "--output", str(tmp_path)]) == 2
    assert main(["verify", "--output", str(tmp_path), "--repair", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"] == [PATH] and store.get(PATH) == content
