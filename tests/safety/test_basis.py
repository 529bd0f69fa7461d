"""Which recordings may be used for training, and by what: grants, open licences, statements, nothing."""

import shutil
from pathlib import Path

import pytest

from voxbeam.assets import DEMO
from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.safety import enrol
from voxbeam.safety.basis import basis_of, check_basis, is_open
from voxbeam.safety.enrol import Terms, put_licence
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.schemas.recording import Recording

from tests.safety.ledgers import BEGIN, SetClock, files, grant, new_ledger

TRAIN = Terms(scopes=("train",), purposes=("research",), models=("runs-of-ours",))


def listed(name: str = "talk", **columns: object) -> Recording:
    return Recording(recording=name, uri=f"/speech/{name}.flac", **columns)


@pytest.mark.parametrize(
    ("license", "open_"),
    [
        ("CC0-1.0", True),
        ("CC-BY-4.0", True),
        ("CC-BY-SA-3.0", True),
        ("LicenseRef-Public-Domain", True),
        ("CC-BY-NC-4.0", False),
        ("CC-BY-ND-4.0", False),
        ("CC-BY-4.0 WITH a wish", False),
        ("proprietary", False),
        ("", False),
        (None, False),
    ],
)
def test_open_licences(license: str | None, open_: bool) -> None:
    assert is_open(license) == open_


def test_the_basis_of_a_recording(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path, clock := SetClock())
    made = grant(ledger, TRAIN)
    other = grant(ledger)  # for prompts alone
    put_licence(ledger, "Readings", "CC-BY-4.0", ["reading"])
    with pytest.raises(ConsentError, match="not known as an open licence"):
        put_licence(ledger, "Readings", "CC-BY-NC-4.0", ["reading"])

    def kind(recording: Recording) -> str:
        return basis_of(recording, ledger.state(), clock(), ledger.keys).kind

    by_grant = listed(consent_basis=f"grant:{made.digest[:12]}")
    assert kind(by_grant) == "grant"
    assert kind(listed(consent_basis=f"grant:{other.digest}", license="CC0-1.0")) == "refused"
    assert kind(listed(consent_basis="grant:00000000")) == "refused"
    assert kind(listed(license="CC0-1.0")) == kind(listed("reading")) == "licence"
    assert kind(listed(consent_basis="they said yes")) == "stated"
    assert kind(listed()) == kind(listed(license="proprietary")) == "missing"
    clock.now = BEGIN + enrol.TERM
    assert basis_of(by_grant, ledger.state(), clock(), ledger.keys).why.endswith("it expired at 2027-11-26T12:00:00Z")
    enrol.take_down(ledger, made.body["subject"], ["reading"])
    assert kind(by_grant) == kind(listed("reading", license="CC0-1.0")) == "refused"
    assert kind(listed("talk", license="CC0-1.0")) == "licence"
    earlier = {"subject": made.body["subject"], "recordings": ["talk"], "reason": None}
    ledger.append("takedown", earlier, [ledger.keys.operator()])  # as an earlier voxbeam wrote it
    assert kind(listed("talk", license="CC0-1.0")) == kind(listed("reading", license="CC0-1.0")) == "refused"
    with pytest.raises(ConsentError, match=r"there is no usable key .*pseudonym\.key"):
        basis_of(listed("talk"), ledger.state(), clock(), KeyRing(tmp_path / "elsewhere"))


def test_the_report_counts_and_the_requirement_refuses(tmp_path: Path) -> None:
    absent = Ledger(str(tmp_path / "none"), KeyRing(tmp_path / "keys"))
    recordings = [listed("a", license="CC0-1.0"), listed("b"), listed("c", consent_basis="yes"), listed("d")]
    report = check_basis(recordings, absent, required=False)
    assert report.counts == {"licence": 1, "stated": 1, "missing": 2} and report.lacking == 3
    assert report.message().startswith(
        "May be trained on: 1 by an open licence, 1 by what the listing states, 2 without any basis (b: "
    )
    with pytest.raises(ConsentError, match="3 recordings may not be trained on"):
        check_basis(recordings, absent, required=True)
    assert check_basis(recordings[:1], absent, required=True).lacking == 0
    ledger = new_ledger(tmp_path)
    files(ledger)[0].write_bytes(b"{}")
    with pytest.raises(LedgerError):
        check_basis(recordings, Ledger(ledger.store.root, ledger.keys), required=False)


def test_build_refuses_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of the demo's speech without what is written beside it: nobody says why it may be used."""
    for file in (DEMO / "kennedy").rglob("*.flac"):
        shutil.copy(file, tmp_path)
    words = ["--input", str(tmp_path), "--output", str(tmp_path / "out"), "--direct_num_workers=1"]
    assert main(["build", *words, "--require-consent", "--ledger", str(tmp_path / "none")]) == UNUSABLE
    printed = capsys.readouterr().err
    assert "1 recordings may not be trained on" in printed and "neither licence nor consent" in printed
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "progress" not in path.parts]
