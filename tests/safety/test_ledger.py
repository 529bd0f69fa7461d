"""The ledger: what is added is there for every reader, and whoever touches what is there makes it unusable."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.safety import enrol
from voxbeam.safety.envelope import canonical_json, open_envelope, seal_envelope
from voxbeam.safety.events import SCOPES, Event, from_time
from voxbeam.safety.keys import KeyRing, public_hex
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.state import State, fold
from voxbeam.schemas.errors import ConsentError, LedgerError

from tests.safety.ledgers import BEGIN, PROMPT, SetClock, as_another_machine, files, grant, new_ledger, why


def test_an_event_that_was_changed_is_noticed(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    grant(ledger)
    path = files(ledger)[1]
    content = path.read_bytes()
    payload = open_envelope(content, "").payload
    forger = Ed25519PrivateKey.generate()
    wider = payload | {"body": payload["body"] | {"scopes": list(SCOPES)}}
    tree = json.loads(content)
    other = json.loads(seal_envelope(wider, [forger]))
    for forged in (content[:-1], content + b"\n", content.replace(b'"sig":"', b'"sig":"AAAA', 1)):
        path.write_bytes(forged)
        with pytest.raises(LedgerError, match="is no signed statement"):
            Ledger(ledger.store.root, ledger.keys, ledger.clock).state()
    for forged in (canonical_json(tree | {"payload": other["payload"]}), canonical_json(other)):
        path.write_bytes(forged)
        with pytest.raises(LedgerError, match=r"signature does not fit|must be signed by the operator and the speaker"):
            Ledger(ledger.store.root, ledger.keys, ledger.clock).state()


def test_events_that_were_reordered_are_noticed(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    grant(ledger)
    one, two = files(ledger)[1:]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(LedgerError, match="does not follow the event before it"):
        as_another_machine(ledger, tmp_path).state()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_event_that_was_deleted_is_noticed(tmp_path: Path, which: int) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    enrol.revoke(ledger, made.digest)
    files(ledger)[which].unlink()
    with pytest.raises(LedgerError, match=f"event {which + 1} .* is missing"):
        as_another_machine(ledger, tmp_path).state()


def test_a_revocation_taken_off_the_end_is_noticed_by_whoever_saw_it(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    enrol.revoke(ledger, made.digest)
    files(ledger)[-1].unlink()
    with pytest.raises(LedgerError, match="has 3 events, and had 4 before: its end was taken off"):
        Ledger(ledger.store.root, ledger.keys, ledger.clock).state()
    assert why(as_another_machine(ledger, tmp_path), made.digest) == ""  # nobody there can know: docs/safety.md says so


def test_a_fork_is_noticed(tmp_path: Path) -> None:
    """Two histories that begin alike: who saw one refuses the other."""
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    shutil.copytree(ledger.store.root, tmp_path / "backup")
    enrol.revoke(ledger, made.digest)
    shutil.rmtree(ledger.store.root)
    shutil.copytree(tmp_path / "backup", ledger.store.root)
    fork = as_another_machine(ledger, tmp_path)
    grant(fork, name="Bo Ray")
    with pytest.raises(LedgerError, match="another ledger, or a fork of it"):
        Ledger(ledger.store.root, ledger.keys, ledger.clock).state()


def test_an_event_of_another_ledger_is_noticed(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    other = Ledger(str(tmp_path / "second"), ledger.keys, ledger.clock)
    other.create("Test house")
    grant(ledger)
    grant(other)
    shutil.copy(files(other)[1], files(ledger)[1])
    with pytest.raises(LedgerError, match="does not follow the event before it"):
        as_another_machine(ledger, tmp_path).state()


def test_a_nonce_is_good_once(tmp_path: Path) -> None:
    """Signed by the operator, in its place in the chain: only the nonce is one that was used."""
    ledger = new_ledger(tmp_path)
    grant(ledger)
    last, nonce = ledger.events()[-1], ledger.events()[1].nonce
    body = {"work": "W", "licence": "CC0-1.0", "scopes": ["train"], "recordings": [], "sounds": [], "made_by": None}
    event = {
        "type": "voxbeam.consent/1", "ledger": last.ledger, "seq": last.seq + 1, "previous": last.digest,
        "at": from_time(BEGIN), "nonce": nonce, "kind": "licence", "body": body,
    }  # fmt: skip
    files(ledger)[-1].with_name("00000004.json").write_bytes(seal_envelope(event, [ledger.keys.operator()]))
    with pytest.raises(LedgerError, match="its nonce was used before"):
        ledger.state()


def test_a_challenge_and_its_recording_are_good_once(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made, again = grant(ledger), enrol.put_grant(ledger, "Ann Lee", PROMPT)
    body = dict(ledger.events()[2].body) | {"grant": again.digest}
    for changes in ({}, {"evidence": "1" * 64}, {"challenge": "1" * 32}):
        with pytest.raises(LedgerError, match="was used before"):
            ledger.append("verify", body | changes, [ledger.keys.operator()])
    assert why(ledger, made.digest) == ""


def test_a_key_that_was_retired_signs_no_more(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    old, made = ledger.keys.operator(), grant(ledger)
    ledger.rotate_operator()
    assert why(ledger, made.digest) == ""  # what it signed before stays
    body = {"work": "W", "licence": "CC0-1.0", "scopes": ["train"], "recordings": [], "sounds": [], "made_by": None}
    with pytest.raises(LedgerError, match="signed with a key that was retired"):
        ledger.append("licence", body, [old])
    assert ledger.append("licence", body, [ledger.keys.operator()])


def test_a_rotation_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    old, new = ledger.keys.operator(), ledger.keys.stage_operator()
    ledger.append("key", {"operator": public_hex(new), "retire": [public_hex(old)]}, [old])
    ledger.rotate_operator()
    assert public_hex(ledger.keys.operator()) == public_hex(new) and grant(ledger)


def test_the_operator_cannot_sign_for_the_speaker(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    body = dict(grant(ledger).body)
    operator = ledger.keys.operator()
    with pytest.raises(LedgerError, match="must be signed by the operator and the speaker"):
        ledger.append("grant", body, [operator])
    with pytest.raises(LedgerError, match="cannot sign as the speaker"):
        ledger.append("grant", body | {"subject_key": public_hex(operator)}, [operator])
    with pytest.raises(LedgerError, match="and by nobody else"):
        ledger.append(
            "takedown", {"subject": "0" * 32, "recordings": [], "reason": None}, [operator, Ed25519PrivateKey.generate()]
        )


def test_a_clock_that_is_set_back_allows_nothing(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path, clock := SetClock())
    made = grant(ledger)
    clock.now = BEGIN + enrol.TERM
    assert "expired" in why(ledger, made.digest)
    clock.pass_by(seconds=-1)  # the grant has not expired by this clock
    with pytest.raises(LedgerError, match="clock was set back"):
        ledger.state()
    other = as_another_machine(ledger, tmp_path)
    clock.now = BEGIN - timedelta(seconds=1)
    assert "behind the newest event" in why(other, made.digest)


def test_another_process_that_checks_meanwhile_is_no_clock_set_back(tmp_path: Path) -> None:
    """`voxbeam generate` beside `voxbeam serve`, on one machine: whoever is slower by a moment is not refused."""
    ledger = new_ledger(tmp_path, clock := SetClock())
    other = Ledger(ledger.store.root, ledger.keys, clock)
    asked = list[datetime]()

    def meanwhile() -> datetime:
        now = clock()
        if not asked:
            clock.pass_by(seconds=2)
            other.state()
        asked.append(now)
        return now

    state, now = Ledger(ledger.store.root, ledger.keys, meanwhile).state_and_time()
    assert state == other.state() and now == BEGIN + timedelta(seconds=2) and asked[0] == BEGIN


def test_a_revocation_is_not_kept_out_by_a_clock_that_is_behind(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path, clock := SetClock())
    made = grant(ledger)
    other = as_another_machine(ledger, tmp_path)
    clock.now = BEGIN - timedelta(days=1)
    assert enrol.revoke(other, made.digest).at == BEGIN


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    other = Ledger(ledger.store.root, ledger.keys, ledger.clock)
    other.state()
    one, two = grant(ledger, name="Ann Lee"), grant(other, name="Bo Ray")
    assert {one.digest, two.digest} <= ledger.state().grants.keys() and len(files(ledger)) == 5


def test_threads_that_read_at_once_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server: every request asks the ledger, and a revocation arrives while they do."""
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    before = ledger.state()
    enrol.revoke(Ledger(ledger.store.root, ledger.keys, ledger.clock), made.digest)
    read_new = Ledger._read_new

    def slowly(self: Ledger) -> list[Event]:
        new = read_new(self)
        time.sleep(0.05)
        return new

    monkeypatch.setattr(Ledger, "_read_new", slowly)
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: ledger.state(), range(8)))
    assert all(state.grants[made.digest].revoked for state in states)
    assert before.grants[made.digest].revoked is None, "what one thread looks at does not change under it"
    assert [event.seq for event in ledger.events()] == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["missing", "file", "stray", "unreadable"])
def test_a_ledger_that_cannot_be_read_is_an_error_of_consent(tmp_path: Path, damage: str) -> None:
    ledger = new_ledger(tmp_path)
    root = Path(ledger.store.root)
    if damage in ("missing", "file"):
        shutil.rmtree(root)
    if damage == "file":
        root.write_text("no folder")
    if damage == "stray":
        (root / "events" / "notes.txt").write_text("hello")
    if damage == "unreadable":
        (root / "events" / "00000002.json").mkdir()
        (root / "events" / "00000002.json" / "x").write_text("")
    with pytest.raises(ConsentError) as caught:
        Ledger(ledger.store.root, ledger.keys, ledger.clock).state()
    assert caught.value.remedy


def test_a_store_that_does_not_answer_is_an_error_of_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger("s3://nowhere/ledger", KeyRing(tmp_path / "keys")).state()


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    path = ledger.keys.folder / "operator.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConsentError, match="others can read the key"):
        grant(ledger)


def test_the_state_is_a_pure_function_of_the_events(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    enrol.revoke(ledger, grant(ledger).digest)
    grant(ledger, name="Bo Ray")
    events = ledger.events()
    assert fold(events) == fold(events[3:], fold(events[:3])) == ledger.state()
    assert fold([]) == State()


def test_a_copy_without_its_end_is_noticed_wherever_it_lies(tmp_path: Path) -> None:
    """What this machine has seen of a ledger, it has seen of it at every address."""
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    shutil.copytree(ledger.store.root, tmp_path / "copy")
    enrol.revoke(ledger, made.digest)
    copy = Ledger(str(tmp_path / "copy"), ledger.keys, ledger.clock)
    with pytest.raises(LedgerError, match="its end was taken off"):
        copy.state()
    shutil.copytree(ledger.store.root, tmp_path / "whole")
    assert Ledger(str(tmp_path / "whole"), ledger.keys, ledger.clock).state().grants[made.digest].revoked
