"""Which recordings are worked on: the result does not depend on the order of the listing."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.previous_release import PreviousRelease
from voxbeam.pipeline.steps.probe import Probed, quarantined_row
from voxbeam.pipeline.steps.units import deduplicate
from voxbeam.schemas.errors import Failure
from voxbeam.schemas.recording import Recording

from tests.pipeline.factories import source

SHA = "a" * 64
NAMES = st.lists(st.sampled_from("pqrstuvw"), unique=True, min_size=1)


def probed(name: str, sha256: str = SHA) -> Probed:
    return Probed(recording=Recording(recording=name, uri=f"{name}.wav"), source=source(sha256=sha256))


def reasons(found: list[Probed]) -> dict[str, str | None]:
    return {p.recording.recording: p.failure.reason if p.failure else None for p in found}


@given(NAMES, st.randoms())
def test_first_of_same_bytes_is_taken(names: list[str], random: object) -> None:
    found = reasons(list(deduplicate([probed(n) for n in names], PreviousRelease({}), False)))
    assert found == {n: None if n == min(names) else "duplicate" for n in names}


@given(NAMES, st.sampled_from("pqrstuvw"), st.booleans(), st.permutations(range(8)))
def test_order_does_not_matter(names: list[str], owner: str, extends: bool, order: list[int]) -> None:
    everything = [probed(n) for n in names]
    shuffled = [everything[i] for i in order if i < len(everything)]
    previous = PreviousRelease({owner: SHA, "other": "b" * 64})
    one, two = (list(deduplicate(ps, previous, extends)) for ps in (everything, shuffled))
    assert one == two
    worked_on = [p for p in one if p.failure is None]
    assert len(worked_on) == (0 if extends else 1)
    assert all(p.failure is None or p.failure.remedy for p in one)
    expected = set(names) - {owner} if extends else set(names)
    assert {p.recording.recording for p in one} == expected


def test_kept_recording_yields_nothing_while_the_release_grows() -> None:
    previous = PreviousRelease({"p": SHA})
    assert list(deduplicate([probed("p")], previous, True)) == []
    assert reasons(list(deduplicate([probed("p")], previous, False))) == {"p": None}


def test_changed_bytes_fail_under_another_name() -> None:
    (changed,) = deduplicate([probed("p", "c" * 64)], PreviousRelease({"p": SHA}), True)
    assert changed.recording.recording == "p-cccccccc"
    assert changed.failure is not None and changed.failure.reason == "changed"


def test_a_failed_probe_stays_failed() -> None:
    failure = Failure(stage="probe", reason="empty_file", error="e", remedy="r")
    failed = replace(probed("p"), source=None, failure=failure)
    assert list(deduplicate([failed], PreviousRelease({}), False)) == [failed]
    assert quarantined_row(failed.recording, failure).check().reason == "empty_file"
