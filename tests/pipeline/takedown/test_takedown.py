"""A person out of a corpus: in one command, with proof; also while a build runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.steps.probe import Probed, refuse_taken_down
from voxbeam.pipeline.steps.release_writer import commit, write_part
from voxbeam.pipeline.takedown.find import find_person
from voxbeam.pipeline.takedown.take_down import take_down
from voxbeam.pipeline.verify import verify_release
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.tombstones import read_tombstones
from voxbeam.schemas.errors import CommitConflictError, ConsentError, LedgerError, NotInCorpusError
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.storage.releases import latest_release, load_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.factories import PHONES, draft, small_release, source
from tests.pipeline.takedown.traces import ANNA, take_anna_down
from tests.pipeline.told_corpus import RECORDINGS, build_told
from tests.safety.ledgers import grant, new_ledger, put_tombstone


def release_of_names(folder: Path, names: dict[str, str]) -> None:
    """A release of recordings that are listed with these speakers."""
    store = Store(str(folder))
    why = {"status": "quarantined", "stage": "decode", "reason": "unreadable", "remedy": "replace it"}
    rows = [RecordingRow(recording=one, uri=f"{one}.wav", speaker=name, units=[], **why) for one, name in names.items()]
    commit(store, draft(), [write_part(store, "recordings", "part", rows)], {}, PHONES)


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
