"""After the time of grace no byte of a person is left in a corpus; what is not voxbeam's own is named."""

import gzip
import html
import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.audit.answers import AnswerLog, put_plan
from voxbeam.audit.plan import AuditPlan
from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.main import main
from voxbeam.pipeline.remove import remove
from voxbeam.pipeline.repack import release as repack
from voxbeam.pipeline.steps.unit_file import read_header_and_table
from voxbeam.pipeline.takedown.find import find_person
from voxbeam.pipeline.takedown.person import NAMED, Person
from voxbeam.pipeline.takedown.purge import add_rows, purge
from voxbeam.pipeline.takedown.scan import UNREADABLE, scan
from voxbeam.pipeline.takedown.take_down import take_down
from voxbeam.pipeline.verify import verify_release
from voxbeam.safety.ledger import Ledger
from voxbeam.schemas.errors import ConsentError, StorageError
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.storage.releases import latest_release, load_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.takedown.traces import ANNA, known_of, take_anna_down, traces_of
from tests.pipeline.told_corpus import ONE_WORKER, RECORDINGS, build_told
from tests.safety.ledgers import put_tombstone


def test_no_byte_is_left_after_the_purge(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    remove(store.root, recordings=["anna-1", "carl-1"], reason="a test", who="Joe", runner_args=ONE_WORKER)
    repack(store.root, {"exclude": {"recordings": {"carl-1": "a test"}}}, runner_args=ONE_WORKER)
    open_index(store.root)
    known = known_of(store, ANNA)
    assert {"units", "shards", "manifests", "releases", "copies", "listings", "removals"} <= traces_of(
        folder / "corpus", known
    ).keys()
    assert any(traces_of(folder / "cache", known).values())
    others = known_of(store, ("bert-0", "carl-0"))

    assert take_anna_down(folder, "--purge", "--grace", "2") == DONE
    printed = capsys.readouterr().out
    assert "To be deleted after 20" in printed and "releases 000001, 000002, 000003" in printed
    assert main(["takedown", "purge", "--corpus", store.root]) == DONE
    assert "Nothing is due" in capsys.readouterr().out and len(traces_of(folder / "corpus", known)) >= 7

    later = Ledger().clock() + timedelta(days=2, seconds=5)
    planned = purge(store, later, trusted=Ledger().operator_keys(), dry_run=True)
    assert planned.releases == [1, 2, 3] and load_release(store, 1)
    done = purge(store, later, trusted=Ledger().operator_keys())
    assert done.paths == planned.paths and not done.findings and done.scanned > 10
    assert traces_of(folder / "corpus", known) == {} and traces_of(folder / "cache", known) == {}
    release = latest_release(store)
    assert release is not None and release.number == 4 and list(verify_release(store, release)) == []
    assert release.config["exclude"]["recordings"] == {"carl-1": "a test"}
    (order,) = (folder / "corpus" / "removals").iterdir()
    assert "carl-1" in order.read_text()
    assert traces_of(folder / "corpus", others - {b"anna"}).keys() >= {"units", "shards", "manifests"}, "nobody else's"
    assert purge(store, later, trusted=Ledger().operator_keys()).paths == []

    result = build_told(folder, policy={"exclude": {"recordings": {"carl-1": "a test"}}})
    assert not result.committed, "what was taken down is left out of the listing, and the rest is there"
    shutil.rmtree(folder / "corpus" / "listings")
    assert traces_of(folder / "corpus", known) == {}


def test_a_purge_at_once_names_what_it_may_not_delete(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "corpus" / "notes.txt").write_text("Do not forget to thank anna-0!")
    (folder / "corpus" / "other.parquet").write_bytes(b"no table")
    assert take_anna_down(folder, "--purge", "--grace", "0") == WRONG
    printed = capsys.readouterr().out
    assert "notes.txt has an identifier, a name or an address of them" in printed
    assert "copies and runs elsewhere, backups, and caches of other machines were not looked at" in " ".join(printed.split())
    assert f"other.parquet has {UNREADABLE} of them" in printed
    assert [path for path, _ in store.walk("releases/")] == ["releases/000002.json"]
    assert (folder / "corpus" / "notes.txt").exists()
    main(["takedown", "purge", "--corpus", store.root, "--all"])
    again = " ".join(capsys.readouterr().out.split())
    assert "may be there" in again and "nothing of them was found" not in again, "no release is left that tells of her"


def test_a_purge_that_was_killed_goes_on(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_of(store, ANNA)
    assert take_anna_down(folder, "--purge") == DONE
    later = Ledger().clock() + timedelta(days=31)
    deleted = list[str]()

    def some(self: Store, paths: list[str]) -> None:
        for path in paths:
            if not path.startswith(("gc/", "progress/")) and len(deleted) >= 4:
                raise KeyboardInterrupt
            deleted.append(path)
            Path(self.root, path).unlink(missing_ok=True)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", some)
        with pytest.raises(KeyboardInterrupt):
            purge(store, later, trusted=Ledger().operator_keys())
    assert purge(store, later, trusted=Ledger().operator_keys()).findings == []
    assert traces_of(folder / "corpus", known) == {}


def test_units_and_listings_of_stopped_builds_go_too(folder: Path, store: Store) -> None:
    """A unit of the person that no release refers to goes; one of somebody else, which a build may go on with, stays."""
    units = {}
    for path, _ in store.walk("units/"):
        _, table = read_header_and_table(store.get(path))
        units[table["recording"][0].as_py()] = store.get(path)
    orphans = {name: f"units/ee/{index:032x}/{'e' * 16}.arrow" for index, name in enumerate(("anna-0", "bert-0"))}
    for name, path in orphans.items():
        store.replace(path, units[name])
    assert take_anna_down(folder) == DONE
    assert main(["takedown", "purge", "--corpus", store.root]) == DONE and store.exists(orphans["anna-0"])
    assert main(["takedown", "purge", "--corpus", store.root, "--all"]) == DONE
    assert not store.exists(orphans["anna-0"]) and store.exists(orphans["bert-0"])


def test_a_purge_waits_for_a_release_without_them_and_for_builds(folder: Path, store: Store) -> None:
    key = Ledger().keys.operator(make=True)
    now = Ledger().clock()
    put_tombstone(store, {"anna-0": None}, "", key, purge_after=now)
    with pytest.raises(ConsentError, match=r"the latest release of .* still has anna-0"):
        purge(store, now, trusted=Ledger().operator_keys())
    store.replace("progress/00000000/build.json", b'{"elapsed_s": 1}')
    with pytest.raises(StorageError, match="is running on"):
        purge(store, now, trusted=Ledger().operator_keys())
    assert load_release(store, 1)


def test_everybody_of_a_corpus_can_be_taken_down(store: Store, folder: Path) -> None:
    found = find_person(store, load_release(store), recordings=RECORDINGS)
    done = take_down(store, found, Ledger(), grace=timedelta(0))
    assert list(verify_release(store, done.after)) == [] and not done.after.files_of_kind("shard")
    assert not list(read_rows(store, done.after, VoiceRow)) and not list(read_rows(store, done.after, RejectedRow))
    assert not purge(store, done.purge_after or Ledger().clock(), trusted=Ledger().operator_keys()).findings
    assert not [path for path, _ in store.walk("units/")] and not [path for path, _ in store.walk("shards/")]


def test_the_scan_reads_what_is_compressed(store: Store) -> None:
    """Every kind of object of a corpus with the person is found by the product's scan."""
    release, person = load_release(store), Person()
    for row in read_rows(store, release, RecordingRow):
        if row.recording in ANNA:
            person.add_recording(row)
    add_rows(store, release, person, set(ANNA))
    read, findings = scan(store, person)
    assert read == sum(1 for _ in store.walk())
    found = {(finding.path.split("/")[0], finding.what) for finding in findings}
    named = "an identifier, a name or an address"
    expected = {("shards", "codes"), ("shards", "a text"), ("units", "codes"), ("units", "a text"), ("manifests", "a text")}
    assert expected | {(folder, named) for folder in ("units", "shards", "manifests", "listings")} <= found


def test_what_killed_writers_left_under_temporary_names(folder: Path, store: Store) -> None:
    """`Store.walk` passes such files over: they are deleted all the same, and scanned where they are not voxbeam's."""
    table = next(path for path, _ in store.walk("manifests/") if "/samples/" in path)
    unit = next(path for path, _ in store.walk("units/"))
    staged = [Path(store.root, f"{path}#77") for path in (table, unit, "copies/000001.json")]
    for path in staged:
        path.write_bytes(b"a part of anna-0")
    (folder / "corpus" / "notes.txt#12").write_text("anna-0 again")
    assert take_anna_down(folder, "--purge", "--grace", "0") == WRONG
    assert not [path for path in staged if path.exists()]
    found = purge(store, Ledger().clock(), trusted=Ledger().operator_keys()).findings
    assert found == [], "no release knows her any more"
    assert (folder / "corpus" / "notes.txt#12").exists()


def test_a_purge_that_was_killed_after_the_releases(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing says any more whom the tables and copies that are left are of: they go as no release has them."""
    assert take_anna_down(folder, "--purge") == DONE
    later, delete = Ledger().clock() + timedelta(days=31), Store.delete

    def until_tables(self: Store, paths: list[str]) -> None:
        if paths[0].startswith(("copies/", "manifests/")):
            raise KeyboardInterrupt
        delete(self, paths)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete", until_tables)
        with pytest.raises(KeyboardInterrupt):
            purge(store, later, trusted=Ledger().operator_keys())
    assert store.exists("copies/000001.json") and not store.exists("releases/000001.json")
    purge(store, later, trusted=Ledger().operator_keys())
    assert [path for path, _ in store.walk("copies/")] == ["copies/000002.json"]
    release = load_release(store)
    manifests = {file.path for file in release.files if file.path.startswith("manifests/")}
    assert {path for path, _ in store.walk("manifests/")} == manifests


def test_audits_of_a_release_go_with_it(folder: Path, store: Store) -> None:
    """What listeners heard and wrote down of the person; without the release no answer counts."""
    release = load_release(store)
    plan = AuditPlan(release=1, release_sha256="0" * 64, seed=0, strata=(), clips=())
    sample = next(row for row in read_rows(store, release, SampleRow) if row.recording == "anna-0")
    put_plan(store, plan)
    AnswerLog(store, plan, Ed25519PrivateKey.generate(), "Joe").add(sample.key, "s", 1.0, str(sample.text), None, "hm")
    assert len(list(store.walk("audits/"))) == 2
    assert take_anna_down(folder, "--purge", "--grace", "0") == DONE
    assert not list(store.walk("audits/"))


def test_names_are_found_however_they_are_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    person = Person(names={'Jörg "Joe" & Söhne'}, recordings={"talk-7"}, texts={'he said "nothing", and more of it'})
    (text,), (name,) = person.texts, person.names
    there = {
        "builds.json": json.dumps({"slowest": name}).encode(),
        "page.html": html.escape(name).encode(),
        "address.txt": quote(name).encode(),
        "text.json": json.dumps({"text": text}).encode(),
        "cuts.jsonl.gz": gzip.compress(b'{"id": "talk-7"}'),
        "exports/talk-7.wav": b"RIFF",
        "exports/talk-77.wav": b"RIFF",
        "half.gz": gzip.compress(b"of somebody else" * 99)[:20],
    }
    for path, content in there.items():
        store.replace(path, content)
    found = {finding.path: finding.what for finding in scan(store, person)[1]}
    assert found.pop("text.json") == "a text" and found.pop("half.gz") == UNREADABLE
    assert set(found) == set(there) - {"text.json", "half.gz", "exports/talk-77.wav"} and set(found.values()) == {NAMED}


def test_an_index_that_was_cut_off_leaves_nothing_in_the_cache(folder: Path, store: Store) -> None:
    program = (
        "import os, sys\nfrom voxbeam.trainer.data import index\nwrite = index.write_index\n"
        "index.write_index = lambda *a: (write(*a), os.kill(os.getpid(), 9))\nindex.open_index(sys.argv[1])"
    )
    killed = subprocess.run([sys.executable, "-c", program, store.root], env=os.environ, check=False)
    known = known_of(store, ANNA)
    assert killed.returncode == -9 and traces_of(folder / "cache", known)
    assert take_anna_down(folder, "--purge", "--grace", "0") == DONE
    assert not traces_of(folder / "cache", known)
