"""Takedown: proofs that hold, that break when anything is touched, and a statement that a third party checks."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.takedown.rewrite import release_without
from voxbeam.safety.envelope import seal_envelope
from voxbeam.safety.keys import public_hex
from voxbeam.safety.merkle import Leaf, Tree, excludes, includes
from voxbeam.safety.takedown import _side, check_releases, check_statement, publish_takedown, release_tree, shard_tree
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.storage.releases import load_release
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.factories import small_release
from tests.safety.ledgers import grant, new_ledger

NAMES = st.sets(st.text("abc", min_size=1, max_size=3), max_size=20)


@given(NAMES, st.text("abc", min_size=1, max_size=3))
def test_every_name_is_proven_to_be_in_a_tree_or_not(names: set[str], asked: str) -> None:
    tree = Tree([Leaf(name, "0") for name in names])
    size = len(names)
    for name in names:
        proof = tree.inclusion(name)
        assert includes(tree.root, size, proof)
        assert not includes(tree.root, size, proof | {"recording": f"{name}x"}) and not includes("0" * 64, size, proof)
        assert not excludes(tree.root, size, name, [proof])
        others = [tree.inclusion(other) for other in names if other != name][:2]
        assert not excludes(tree.root, size, name, others)
    if asked in names:
        with pytest.raises(LedgerError, match="still in the release"):
            tree.absence(asked)
    else:
        proofs = tree.absence(asked)
        assert excludes(tree.root, size, asked, proofs)
        assert len(proofs) < 2 or not excludes(tree.root, size, asked, proofs[:1])
        with pytest.raises(LedgerError, match="not in the release"):
            tree.inclusion(asked)


def test_the_order_of_the_leaves_does_not_matter_and_their_bytes_do() -> None:
    leaves = [Leaf(name, "0") for name in "abcde"]
    assert Tree(leaves).root == Tree(leaves[::-1]).root != Tree([*leaves[:4], replace(leaves[4], sha256="1")]).root
    with pytest.raises(LedgerError, match="twice"):
        Tree([*leaves, Leaf("a", "1")])


@pytest.fixture
def corpus(tmp_path: Path) -> Store:
    """Release 1 of the recordings q and r, and release 2 of q alone, which shares its shard."""
    store, old = small_release(tmp_path / "corpus")
    release_without(store, old, {"r"})
    return store


def test_a_statement_is_checked_by_whoever_has_the_key_and_the_releases(tmp_path: Path, corpus: Store) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    content = publish_takedown(ledger, corpus, 1, ["r"], made.body["subject"])
    key = public_hex(ledger.keys.operator())
    statement = check_statement(content, key)
    assert statement["recordings"] == ["r"] and statement["shards_shared"] == 1
    assert ledger.state().grants[made.digest].revoked
    assert list(ledger.state().tombstones) == [ledger.keys.recording_pseudonym("r")]
    check_releases(statement, corpus, corpus)
    with pytest.raises(ConsentError, match="has r, taken down by"):
        open_index(corpus.root, release=1)
    assert open_index(corpus.root).release == 2
    with pytest.raises(LedgerError, match="signed by another key"):
        check_statement(content, "0" * 64)
    with pytest.raises(LedgerError, match="no signed statement"):
        check_statement(content.replace(b'"sig":"', b'"sig":"A'), key)
    shutil.copytree(corpus.root, tmp_path / "copy")
    small_release(tmp_path / "other", tables={"recordings": lambda rows: [replace(row, sha256="1" * 64) for row in rows]})
    with pytest.raises(LedgerError, match="have another root"):
        check_releases(statement, Store(str(tmp_path / "other")), corpus)
    with pytest.raises(LedgerError, match="cannot be read"):
        check_releases(statement, Store(str(tmp_path / "nothing")), corpus)


def test_a_statement_that_proves_nothing_is_refused_even_if_it_is_signed(tmp_path: Path, corpus: Store) -> None:
    ledger = new_ledger(tmp_path)
    operator = ledger.keys.operator()
    statement = check_statement(publish_takedown(ledger, corpus, 1, ["r"], None), public_hex(operator))
    q = release_tree(corpus, load_release(corpus, 2)).inclusion("q")
    for change, problem in (
        ({"recordings": ["q"], "absent": {"q": statement["absent"]["r"]}}, "were in the release before"),
        ({"recordings": ["q"], "included": [q], "before": statement["after"], "absent": {"q": [q]}}, "that q is not in"),
        ({"absent": {}}, "does not hold"),
        ({"recordings": [], "included": []}, "no takedown"),
    ):
        forged = seal_envelope(statement | change, [operator])
        with pytest.raises(LedgerError, match=problem):
            check_statement(forged, public_hex(operator))


def test_what_is_still_there_is_no_takedown(tmp_path: Path, corpus: Store) -> None:
    ledger = new_ledger(tmp_path)
    for recording, problem in (("q", "q is still in the release"), ("nobody", "nobody is not in the release")):
        with pytest.raises(LedgerError, match=problem):
            publish_takedown(ledger, corpus, 1, [recording], None)
    assert len(ledger.events()) == 1 and not [path for path, _ in corpus.walk("tombstones/")]


def test_the_commands(tmp_path: Path, corpus: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    ledger = new_ledger(tmp_path)
    out = tmp_path / "statement.json"
    words = ["--corpus", corpus.root, "--before", "1", "--recording", "r", "--out", str(out)]
    assert main(["takedown", "publish", *words]) == DONE
    key = public_hex(ledger.keys.operator())
    assert key in capsys.readouterr().out
    assert main(["takedown", "verify", str(out), "--key", key, "--corpus", corpus.root]) == DONE
    assert "r: was in release 1, is not in release 2" in capsys.readouterr().out
    out.write_bytes(out.read_bytes()[:-1])
    assert main(["takedown", "verify", str(out), "--key", key]) == UNUSABLE


@pytest.mark.parametrize("hidden", ["recording", "sample"])
def test_another_name_is_no_takedown(tmp_path: Path, hidden: str) -> None:
    """The file, or a sample, is there under another name: the proofs hold, and whoever has the releases finds out."""
    store, old = small_release(tmp_path / "corpus")

    def rename(rows: list[Any]) -> list[Any]:
        return [replace(row, recording="s", key=row.key.replace("r", "s", 1)) if row.recording == "r" else row for row in rows]

    def rename_files(rows: list[Any]) -> list[Any]:
        same = {} if hidden == "recording" else {"sha256": "9" * 64}
        return [replace(row, recording="s", **same) if row.recording == "r" else row for row in rows]

    tables = {"recordings": rename_files, "samples": rename, "rejected": rename, "voices": lambda rows: rows[:1]}
    other, new = small_release(tmp_path / "other", tables=tables)
    old_tree, new_tree = release_tree(store, old), release_tree(other, new)
    statement = {
        "recordings": ["r"],
        "included": [old_tree.inclusion("r")],
        "absent": {"r": new_tree.absence("r")},
        "before": _side(old, old_tree, shard_tree(old)),
        "after": _side(new, new_tree, shard_tree(new)),
        "shards_shared": 2,
    }
    what = "is the same file as one" if hidden == "recording" else "has the codes and the words of one"
    with pytest.raises(LedgerError, match=f"{what} of the recordings: it is still in the release after"):
        check_releases(statement, store, other)
