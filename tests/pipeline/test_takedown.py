"""A person out of a corpus: in one command, with proof, and then with no byte left; also while a build runs."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.pipeline.remove import remove
from voxbeam.pipeline.repack import release as repack
from voxbeam.pipeline.steps.probe import Probed, refuse_taken_down
from voxbeam.pipeline.steps.release_writer import commit, write_part
from voxbeam.pipeline.steps.unit_file import read_header_and_table
from voxbeam.pipeline.takedown.find import find_person
from voxbeam.pipeline.takedown.person import Person, codes_excerpt
from voxbeam.pipeline.takedown.purge import add_rows, purge
from voxbeam.pipeline.takedown.scan import UNREADABLE, scan
from voxbeam.pipeline.takedown.take_down import take_down
from voxbeam.pipeline.verify import verify_release
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.tombstones import read_tombstones
from voxbeam.schemas.errors import CommitConflictError, ConsentError, LedgerError, NotInCorpusError, StorageError
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.storage.releases import latest_release, load_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.factories import PHONES, draft, small_release, source
from tests.pipeline.told_corpus import ONE_WORKER, RECORDINGS, build_told
from tests.safety.ledgers import grant, new_ledger, put_tombstone

ANNA = ("anna-0", "anna-1")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with one release, in `corpus`, beside its listing."""
    folder = tmp_path_factory.mktemp("told")
    build_told(folder)
    return folder


@pytest.fixture
def folder(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with a ledger and a cache of its own."""
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    shutil.copytree(told / "corpus", tmp_path / "corpus")
    shutil.copy(told / "listing.parquet", tmp_path)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(str(folder / "corpus"))


def release_of_names(folder: Path, names: dict[str, str]) -> None:
    """A release of recordings that are listed with these speakers."""
    store = Store(str(folder))
    why = {"status": "quarantined", "stage": "decode", "reason": "unreadable", "remedy": "replace it"}
    rows = [RecordingRow(recording=one, uri=f"{one}.wav", speaker=name, units=[], **why) for one, name in names.items()]
    commit(store, draft(), [write_part(store, "recordings", "part", rows)], {}, PHONES)


def take_anna_down(folder: Path, *more: str) -> int:
    words = ["--corpus", str(folder / "corpus"), "--speaker", "anna", "--out", str(folder / "statement.json")]
    return main(["takedown", *words, *more])


def traces_of(folder: Path, known: set[bytes]) -> dict[str, set[bytes]]:
    """Top folder → what of `known` is in its files: a scan that shares nothing with the product's."""
    found: dict[str, set[bytes]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += _all_values(pq.read_table(io.BytesIO(content)))
        if path.suffix == ".arrow":
            header, table = read_header_and_table(content)
            content += json.dumps(header).encode() + _all_values(table)
        if hits := {word for word in known if word in content}:
            found.setdefault(path.relative_to(folder).parts[0], set()).update(hits)
    return found


def _all_values(table: pa.Table) -> bytes:
    def values(value: object) -> Iterator[bytes]:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from values(inner)
        elif isinstance(value, str | bytes):
            yield value.encode() if isinstance(value, str) else value

    return b"\n".join(values(table.to_pylist()))


def known_of(store: Store, recordings: tuple[str, ...]) -> set[bytes]:
    """Names, texts, hashes and codes of recordings of the latest release."""
    release, known = load_release(store), {b"anna", *(name.encode() for name in recordings)}
    for row in read_rows(store, release, RecordingRow):
        known |= {row.uri.encode(), str(row.sha256).encode()} if row.recording in recordings else set()
    for sample in read_rows(store, release, SampleRow):
        if sample.recording in recordings:
            content = store.get_range(sample.shard, sample.codes_offset, sample.codes_bytes)
            known |= {str(sample.text).encode(), codes_excerpt(content)}
    return known - {b""}


def test_one_command_takes_a_person_out(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Other shards are the same files; the release keeps every law; whoever has releases and key can check the statement."""
    ledger = new_ledger(folder)
    made = grant(ledger, name="Ann Lee")
    before = load_release(store)
    shards = {file.path: store.get(file.path) for file in before.files_of_kind("shard")}
    stat = {path: Path(store.root, path).stat() for path in shards}
    assert take_anna_down(folder, "--name", "ann lee") == DONE
    printed = capsys.readouterr().out
    assert "anna-0" in printed and "1 of 2 shards of the release before were written again" in printed
    after = load_release(store)
    assert (after.number, after.parent) == (2, 1) and list(verify_release(store, after)) == []
    assert not {row.recording for row in read_rows(store, after, RecordingRow)} & set(ANNA)
    shared = {file.path for file in after.files_of_kind("shard")} & shards.keys()
    assert len(shared) == 1 and "valid" in next(iter(shared)), "bert's"
    for path in shared:
        assert store.get(path) == shards[path] and Path(store.root, path).stat().st_mtime_ns == stat[path].st_mtime_ns
    assert {i.identity for i in read_rows(store, after, IdentityRow)} == {
        i.identity for i in read_rows(store, before, IdentityRow) if i.name != "anna"
    }
    moved = {row.key: (row.text, row.codes_crc32) for row in read_rows(store, before, SampleRow) if row.recording not in ANNA}
    assert moved == {row.key: (row.text, row.codes_crc32) for row in read_rows(store, after, SampleRow)}
    assert Ledger().state().grants[made.digest].revoked is not None

    key = printed.split("signed by ")[1].split()[0]
    third = Store(str(folder / "third"))  # a party that has the two releases, and neither units nor ledger
    for path, _ in store.walk():
        if path.startswith(("releases/", "manifests/", "shards/")):
            third.replace(path, store.get(path))
    shutil.rmtree(folder / "ledger")
    words = ["takedown", "verify", str(folder / "statement.json"), "--key", key, "--corpus", third.root]
    assert main(words) == DONE
    assert "anna-1: was in release 1, is not in release 2" in capsys.readouterr().out

    with pytest.raises(ConsentError, match="has anna-0, taken down by"):
        open_index(store.root, release=1)
    assert len(open_index(store.root)) > 0
    stale = folder / "stale"
    shutil.copytree(third.root, stale)
    (stale / "releases" / "000002.json").unlink()
    words = ["train", str(stale), "--out", str(folder / "run"), "--set", "steps=1", "warmup_steps=1"]
    assert main([*words, "--tombstones", store.root]) == UNUSABLE
    assert "taken down by" in capsys.readouterr().err
    assert main([*words, "--tombstones", str(folder / "no-such-corpus")]) == UNUSABLE
    assert "there is no corpus at" in capsys.readouterr().err, "a slip in the address is no permission"


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
    assert f"other.parquet has {UNREADABLE} of them" in printed
    assert [path for path, _ in store.walk("releases/")] == ["releases/000002.json"]
    assert (folder / "corpus" / "notes.txt").exists()


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


def test_a_build_that_runs_meanwhile_does_not_bring_the_person_back(folder: Path, store: Store) -> None:
    """It ends before its commit; run again, it leaves the person out."""
    taken: list[int] = []

    def take_down_meanwhile(event: object) -> None:
        if getattr(event, "phase", "") == "run" and not taken:
            taken.append(take_anna_down(folder))

    with pytest.raises(ConsentError, match="anna-0 was taken down"):
        build_told(folder, [*RECORDINGS, "dora-0"], on_progress=take_down_meanwhile)
    assert taken == [DONE]
    messages: list[str] = []
    result = build_told(folder, [*RECORDINGS, "dora-0"], on_progress=lambda event: messages.append(str(event.message)))
    assert "2 recordings of the input were taken down (tombstones/), and are left out" in messages
    assert result.committed and result.release is not None and result.release.number == 3
    assert {row.recording for row in read_rows(store, result.release, RecordingRow)} == {*RECORDINGS, "dora-0"} - set(ANNA)


def test_no_build_commits_what_has_a_tombstone(folder: Path, store: Store) -> None:
    """Also where the takedown has come no further than that, and where the latest release has the person."""

    def put_meanwhile(event: object) -> None:
        if getattr(event, "phase", "") == "run" and not read_tombstones(store):
            put_tombstone(store, {"dora-0": None}, "", Ledger().keys.operator(make=True))

    with pytest.raises(ConsentError, match=r"dora-0 was taken down .* so there is no release with it"):
        build_told(folder, [*RECORDINGS, "dora-0"], on_progress=put_meanwhile)
    assert load_release(store).number == 1
    assert not build_told(folder, [*RECORDINGS, "dora-0"]).committed


def test_the_same_bytes_under_another_name_are_quarantined(store: Store, folder: Path) -> None:
    row = next(row for row in read_rows(store, load_release(store), RecordingRow) if row.recording == "anna-0")
    assert take_anna_down(folder) == DONE
    assert "anna" not in "".join(store.get(path).decode() for path, _ in store.walk("tombstones/"))
    renamed = replace(row.as_listed(), recording="x", speaker="Ann Lee", text="what Ann said")
    refused = refuse_taken_down(Probed(recording=renamed, source=row.as_source()), read_tombstones(store))
    assert refused.failure is not None and refused.failure.reason == "taken_down"
    assert (refused.recording.speaker, refused.recording.text, refused.source) == (None, None, None)
    other = Probed(recording=renamed, source=source(sha256="7" * 64))
    assert refuse_taken_down(other, read_tombstones(store)) is other


def test_decisions_and_splits_do_not_tell_who_is_gone(tmp_path: Path) -> None:
    """A release whose configuration names the person, and whose other identity took its split from the person's name."""

    def named_after(rows: list[IdentityRow]) -> list[IdentityRow]:
        return [replace(row, split_key="speaker_r", similar=["speaker_r"], nearest="speaker_r") for row in rows]

    store, old = small_release(
        tmp_path / "corpus",
        tables={"identities": lambda rows: [row for row in named_after(rows) if row.identity != "speaker_r"] + [rows[1]]},
    )
    ledger = new_ledger(tmp_path)
    done = take_down(store, find_person(store, old, recordings=["r"]), ledger)
    (left,) = read_rows(store, done.after, IdentityRow)
    assert (left.identity, left.split, left.nearest, left.similar) == ("speaker_q", "valid", None, [])
    assert left.split_key.startswith("speaker_q#") and list(verify_release(store, done.after)) == []


def test_a_release_that_came_between_may_have_more_of_the_person(tmp_path: Path) -> None:
    """Looked for in release 1, and a build adds release 2: what that has of the person would stay in release 3."""
    from voxbeam.pipeline.steps.release_writer import commit

    from tests.pipeline.factories import PHONES, draft

    store, old = small_release(tmp_path / "corpus")
    found, ledger = find_person(store, old, recordings=["r"]), new_ledger(tmp_path)
    commit(store, draft(2), [file for file in old.files if file.kind not in ("phones", "shard_list")], old.counts, PHONES)
    with pytest.raises(CommitConflictError, match="000002 was committed after the person was looked for in release 000001"):
        take_down(store, found, ledger)
    assert not read_tombstones(store)
    assert take_down(store, find_person(store, load_release(store), recordings=["r"]), ledger).after.number == 3


def test_a_release_that_only_hides_the_recording_is_no_takedown(tmp_path: Path) -> None:
    """Its row is gone, its samples are not: the proofs hold, and whoever has the releases finds out."""
    from voxbeam.pipeline.steps.release_writer import commit, write_part
    from voxbeam.safety.keys import public_hex
    from voxbeam.safety.takedown import check_releases, check_statement, publish_takedown

    from tests.pipeline.factories import PHONES, draft

    store, old = small_release(tmp_path / "corpus")
    rows = [row for row in read_rows(store, old, RecordingRow) if row.recording == "q"]
    files = [file for file in old.files if file.kind not in ("recordings", "phones", "shard_list")]
    commit(store, draft(2), [*files, write_part(store, "recordings", "second", rows)], old.counts, PHONES)
    ledger = new_ledger(tmp_path)
    statement = check_statement(publish_takedown(ledger, store, 1, ["r"], None), public_hex(ledger.keys.operator()))
    with pytest.raises(LedgerError, match="r in the table sample: it is still in the release after"):
        check_releases(statement, store, store)


def test_who_is_found(folder: Path, store: Store) -> None:
    release = load_release(store)
    found = find_person(store, release, speakers=["bert"], recordings=["anna-0"])
    assert list(found.hashes) == ["anna-0", "bert-0", "bert-1"] and found.recordings[1].why == ("speaker bert",)
    for options, problem in ((("recordings", "anna-9"), "no recording anna-9"), (("speakers", "nobody"), "no speaker nobody")):
        with pytest.raises(NotInCorpusError, match=problem):
            find_person(store, release, **{options[0]: [options[1]]})
    before = sum(1 for _ in store.walk())
    assert take_anna_down(folder, "--dry-run") == DONE and sum(1 for _ in store.walk()) == before
    assert main(["takedown", "--corpus", store.root, "--speaker", "anna"]) == UNUSABLE, "a statement must go somewhere"
    inside = str(folder / "corpus" / "statement.json")
    assert main(["takedown", "--corpus", store.root, "--speaker", "anna", "--out", inside]) == UNUSABLE
    assert latest_release(store) == release


def test_a_name_that_looks_alike_is_shown(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Another case, an accent, letters of another script: not taken by itself, and not passed over in silence."""
    (folder / "other").mkdir()
    named = {"anna-0": "anna", "bert-0": "Anna ", "carl-0": "\N{CYRILLIC SMALL LETTER A}nná", "bert-1": "Hannah"}
    release_of_names(folder / "other", named)
    words = ["takedown", "--corpus", str(folder / "other"), "--speaker", "anna", "--dry-run"]
    assert main(words) == DONE
    printed = " ".join(capsys.readouterr().out.split())
    assert "Not taken: the speaker 'Anna ', which looks alike" in printed and "\N{CYRILLIC SMALL LETTER A}nná" in printed
    assert "Hannah" not in printed and "bert-0 (" not in printed


def test_a_slip_in_the_name_ends_no_takedown_in_silence(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    made = grant(new_ledger(folder), name="Ann Lee")
    assert take_anna_down(folder, "--name", "Ann Leigh") == UNUSABLE
    assert "has no grant of 'Ann Leigh'" in capsys.readouterr().err and load_release(store).number == 1
    assert Ledger().state().grants[made.digest].revoked is None and not read_tombstones(store)


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
