"""Grants and takedowns in the ledger: what they allow, for how long, and whose data they hold."""

from datetime import timedelta
from pathlib import Path

import pytest

from voxbeam.safety import enrol
from voxbeam.safety.envelope import open_envelope
from voxbeam.safety.events import from_time
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.state import Use
from voxbeam.safety.vault import shred, unseal
from voxbeam.schemas.errors import ConsentError, LedgerError

from tests.safety.ledgers import BEGIN, PROMPT, SetClock, as_another_machine, files, grant, new_ledger, why


def test_a_grant_covers_what_it_says_until_it_expires(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path, clock := SetClock())
    made = grant(ledger).digest
    assert why(ledger, made) == ""
    assert "does not allow train" in why(ledger, made, Use("train", "personal", "embedded"))
    assert "not for a game" in why(ledger, made, Use("prompt", "a game", "embedded"))
    clock.now = BEGIN + enrol.TERM - timedelta(seconds=1)
    assert why(ledger, made) == ""
    clock.pass_by(seconds=1)
    assert why(ledger, made).startswith("it expired at 2027-11-26")
    assert enrol.renew(ledger, made[:8]) and why(ledger, made) == ""


def test_a_grant_is_narrowed_and_revoked_but_never_widened(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger, enrol.Terms(scopes=("prompt", "commercial"), purposes=("personal", "commercial"))).digest
    commercial = Use("prompt", "commercial", "embedded")
    assert why(ledger, made, commercial) == ""
    enrol.narrow(ledger, made, scopes=["prompt"])
    assert "does not allow commercial" in why(ledger, made, commercial) and why(ledger, made) == ""
    with pytest.raises(LedgerError, match="allows more than the grant that it narrows"):
        enrol.narrow(ledger, made, scopes=["prompt", "train"])
    enrol.revoke(ledger, made, "no more")
    assert why(ledger, made) == f"it was revoked at {from_time(BEGIN)}"
    with pytest.raises(LedgerError, match="renews a grant that was revoked"):
        enrol.renew(ledger, made)


def test_a_speaker_revokes_without_the_operator(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    (ledger.keys.folder / "operator.key").unlink()
    event = enrol.revoke(ledger, made.digest)
    assert event.signers == {made.body["subject_key"]} and "was revoked" in why(ledger, made.digest)


def test_a_model_that_is_not_named_is_not_allowed(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made = grant(ledger, enrol.Terms(models=("embedded",))).digest
    assert why(ledger, made) == "" and "not for /runs/other" in why(ledger, made, Use("prompt", "personal", "/runs/other"))


def test_a_grant_that_nobody_verified_is_no_grant_for_prompts(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    made = enrol.put_grant(ledger, "Ann Lee", PROMPT).digest
    assert why(ledger, made) == "nobody has verified it"


def test_a_takedown_ends_all_grants_and_shreds_the_person(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    one = grant(ledger, personal={"name": "Ann Lee"})
    two, other = grant(ledger), grant(ledger, name="Bo Ray")
    subject, sealed = one.body["subject"], one.body["sealed"]
    assert unseal(ledger.store, ledger.keys, subject, sealed) == {"name": "Ann Lee"}
    assert "Ann" not in "".join(path.read_text() for path in files(ledger))
    took = enrol.take_down(ledger, subject, ["talk-1"])
    assert unseal(ledger.store, ledger.keys, subject, sealed) is None
    assert "revoked" in why(ledger, one.digest) and "revoked" in why(ledger, two.digest) and why(ledger, other.digest) == ""
    assert ledger.state().tombstones == {ledger.keys.recording_pseudonym("talk-1"): took.digest}
    assert not any("talk-1" in str(open_envelope(file.read_bytes(), "").payload) for file in files(ledger))


def test_a_takedown_of_many_recordings_is_several_events(tmp_path: Path) -> None:
    """One that named them all would be larger than any reader accepts."""
    ledger = new_ledger(tmp_path)
    made = grant(ledger)
    names = [f"talk-{number}" for number in range(24_000)]
    took = enrol.take_down(ledger, made.body["subject"], names)
    state = as_another_machine(ledger, tmp_path).state()
    assert len(state.tombstones) == len(names) and took.digest in state.tombstones.values()
    assert "revoked" in why(ledger, made.digest) and len(files(ledger)) == 3 + 3


def test_personal_data_does_not_open_with_other_keys(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    event = grant(ledger, personal={"name": "Ann Lee"})
    other = KeyRing(tmp_path / "other")
    other.vault(make=True)
    with pytest.raises(ConsentError, match="cannot be opened"):
        unseal(ledger.store, other, event.body["subject"], event.body["sealed"])
    shred(ledger.store, event.body["subject"])
    assert unseal(ledger.store, ledger.keys, event.body["subject"], event.body["sealed"]) is None


def test_pseudonyms_are_of_the_person_and_of_the_key(tmp_path: Path) -> None:
    keys, other = KeyRing(tmp_path / "a"), KeyRing(tmp_path / "b")
    name = keys.pseudonym("Ann Lee", make=True)
    assert name == keys.pseudonym("  ANN  lee ") != other.pseudonym("Ann Lee", make=True)
    with pytest.raises(ConsentError, match="needs a name"):
        keys.pseudonym(" ")


@pytest.mark.parametrize("scopes", [(), ("*",), ("prompt", "*"), ("everything",), ("prompt", "prompt-all")])
def test_an_empty_or_wildcard_scope_is_refused(tmp_path: Path, scopes: tuple[str, ...]) -> None:
    ledger = new_ledger(tmp_path)
    with pytest.raises(LedgerError, match="scopes must not be"):
        grant(ledger, enrol.Terms(scopes=scopes))
    assert len(files(ledger)) == 1


@pytest.mark.parametrize(("field", "value"), [("purposes", ("*",)), ("models", ("run*",)), ("purposes", ()), ("models", ("",))])
def test_an_empty_or_wildcard_purpose_or_model_is_refused(tmp_path: Path, field: str, value: tuple[str, ...]) -> None:
    ledger = new_ledger(tmp_path)
    with pytest.raises(LedgerError, match=f"{field} must not be"):
        grant(ledger, enrol.Terms(**{field: value}))


def test_a_term_of_more_than_a_year_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="within twelve months"):
        grant(new_ledger(tmp_path), enrol.Terms(term=timedelta(days=367)))


@pytest.mark.parametrize("scopes", [["prompt"], ["finetune", "train"]])
def test_an_open_licence_never_allows_a_prompt(tmp_path: Path, scopes: list[str]) -> None:
    ledger = new_ledger(tmp_path)
    body = {"work": "Readings", "licence": "CC0-1.0", "recordings": [], "sounds": ["0" * 64], "made_by": None}
    with pytest.raises(LedgerError, match="only the speaker can"):
        ledger.append("licence", body | {"scopes": scopes}, [ledger.keys.operator()])
    assert ledger.append("licence", body | {"scopes": ["redistribute", "train"]}, [ledger.keys.operator()])
