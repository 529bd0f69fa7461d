"""Plans, signed rows and what they say: drawn the same again, kept at once, and told when they were changed."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from voxbeam.audit.answers import AnswerLog, read_answers, read_plans
from voxbeam.audit.open import open_audit
from voxbeam.audit.plan import AuditPlan, make_plan
from voxbeam.audit.result import corrections, label_error_sentence, read_results, summarize
from voxbeam.audit.session import AuditSession
from voxbeam.audit.signing import key_path, open_key, public_name
from voxbeam.corpus import Corpus
from voxbeam.safety.envelope import canonical_json
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import SchemaError, StorageError, VoxbeamError
from voxbeam.storage.overlays import read_overlays
from voxbeam.storage.store import Store


def rows(corpus: Corpus) -> list[Path]:
    return sorted(path for path in Path(corpus.store.root, "audits").rglob("*.json") if path.name != "plan.json")


def change(path: Path, **values: object) -> None:
    path.write_bytes(canonical_json({**json.loads(path.read_bytes()), **values}))


@pytest.fixture
def session(spoken: Corpus) -> AuditSession:
    return open_audit(spoken, who="Ann")


@pytest.fixture
def audited(session: AuditSession) -> Corpus:
    """Twelve clips: one with two voices, one with a wrong text, one that nobody can say."""
    said = ["right"] * 9 + ["two_voices", "wrong_text", "unsure"]
    for number, answer in enumerate(said):
        session.answer(number, answer, "what is said" if answer == "wrong_text" else None)
    return session.corpus


def test_a_plan_is_drawn_the_same_again(spoken: Corpus) -> None:
    plan = make_plan(spoken.store, spoken.release, clips=6)
    assert plan == make_plan(spoken.store, spoken.release, clips=6) == AuditPlan.from_json(plan.to_json())
    assert len({clip.key for clip in plan.clips}) == 6 and sum(s.planned for s in plan.strata) == 6
    assert sum(stratum.population for stratum in plan.strata) == 12
    other = make_plan(spoken.store, spoken.release, clips=6, seed=1)
    assert [clip.key for clip in other.clips] != [clip.key for clip in plan.clips] and other.name != plan.name
    assert {clip.stratum for clip in make_plan(spoken.store, spoken.release).clips} == {s.name for s in plan.strata}


def test_a_plan_begins_with_all_strata(spoken: Corpus) -> None:
    plan = make_plan(spoken.store, spoken.release)
    first = {clip.stratum for clip in plan.clips[: len(plan.clips) // 2]}
    assert {s.name for s in plan.strata if s.planned > 1} <= first


def test_the_key_is_made_once_and_is_its_owners(spoken: Corpus) -> None:
    first = public_name(open_key(key_path()))
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600 and stat.S_IMODE(key_path().parent.stat().st_mode) == 0o700
    assert public_name(open_key(key_path())) == first
    key_path().chmod(0o644)
    with pytest.raises(VoxbeamError, match=r"others can read .*; chmod 600"):
        open_key(key_path())
    key_path().chmod(0o600)
    key_path().write_text("no key")
    with pytest.raises(VoxbeamError, match="is no key; restore it"):
        open_key(key_path())


def test_answers_are_kept_at_once_and_resumed(session: AuditSession) -> None:
    session.answer(0, "right")
    session.answer(3, "noise")
    again = open_audit(session.corpus, who="Ann")
    states = [clip["answer"] for clip in again.state()["clips"]]
    assert (states[0], states[3], states[1]) == ("right", "noise", None) and again.answered == 2
    assert again.undo() == 3 and again.undo() == 0 and again.undo() is None
    assert open_audit(session.corpus, who="Ann").answered == 0 and len(rows(session.corpus)) == 4


def test_a_row_says_what_was_heard(audited: Corpus) -> None:
    row = json.loads(rows(audited)[10].read_bytes())
    (plan,) = read_plans(audited.store, 1)
    assert row["release"] == 1 and row["plan_sha256"] == plan.sha256 and row["who"] == "Ann" and row["number"] == 10
    assert (row["answer"], row["correction"], row["key"]) == ("wrong_text", "what is said", plan.clips[10].key)
    stratum = next(s for s in plan.strata if s.name == row["stratum"])
    assert row["weight"] == stratum.population / stratum.planned and row["time"].endswith("+00:00")
    assert "héllo" in row["text"]


def test_the_result_of_a_whole_release_is_exact(audited: Corpus) -> None:
    (result,) = read_results(audited.store, audited.release)
    assert (result.heard, result.unsure, result.wrong, result.disagreements) == (11, 1, [], [])
    assert sum(each.count.errors for each in result.by_stratum) == 2 and 0.1 < result.overall.rate < 0.25
    assert result.by_kind["two_voices"].rate > 0 and result.by_kind["noise"].rate == 0
    sentence = label_error_sentence(audited.store, audited.release)
    assert sentence and "11 of 12 clips" in sentence and "two voices" in sentence


def test_corrections_are_an_overlay_for_the_next_release(audited: Corpus, tmp_path: Path) -> None:
    (result,) = read_results(audited.store, audited.release)
    lines = {line["key"]: line for line in map(json.loads, corrections(result).splitlines())}
    keys = [clip.key for clip in result.plan.clips]
    assert lines.keys() == {keys[9], keys[10]}
    assert lines[keys[9]] | {"at": ""} == {"key": keys[9], "reason": "audit: two voices", "by": "Ann", "at": ""}
    assert lines[keys[10]]["text"] == "what is said" and "reason" not in lines[keys[10]]
    overlay = tmp_path / "audit.jsonl"
    overlay.write_bytes(corrections(result))
    decided = read_overlays(CorpusConfig(overlays=(str(overlay),))).corrections
    assert (decided.texts, decided.rejected) == ({keys[10]: "what is said"}, {keys[9]: "audit: two voices"})


def test_a_changed_row_is_told_and_does_not_count(audited: Corpus) -> None:
    change(rows(audited)[9], answer="right")
    (result,) = read_results(audited.store, audited.release)
    assert [(each.path.rsplit("/", 1)[-1], each.what) for each in result.wrong] == [
        ("000009.json", "was changed after it was signed")
    ]
    assert result.heard == 10 and result.by_kind["two_voices"].rate == 0
    assert label_error_sentence(audited.store, audited.release) is None


@pytest.mark.parametrize("change_what", ["text", "weight", "who", "time", "stratum", "key", "public_key", "signature"])
def test_every_value_of_a_row_is_signed(audited: Corpus, change_what: str) -> None:
    value = json.loads(rows(audited)[4].read_bytes())[change_what]
    change(rows(audited)[4], **{change_what: 2 * value if isinstance(value, int | float) else value[::-1]})
    (result,) = read_results(audited.store, audited.release)
    assert len(result.wrong) == 1 and result.heard == 10


def test_rows_that_are_gone_or_moved_are_told(audited: Corpus) -> None:
    rows(audited)[4].unlink()
    (result,) = read_results(audited.store, audited.release)
    assert [each.path[-11:] for each in result.wrong] == ["000005.json"] and "taken out" in result.wrong[0].what
    rows(audited)[0].unlink()
    (result,) = read_results(audited.store, audited.release)
    assert [each.path[-11:] for each in result.wrong] == ["000001.json", "000005.json"]


def test_a_row_of_somebody_else_in_this_folder_is_told(audited: Corpus, tmp_path: Path) -> None:
    other = AnswerLog(audited.store, read_plans(audited.store, 1)[0], open_key(tmp_path / "other.pem"), "Eve")
    key = read_plans(audited.store, 1)[0].clips[9].key
    other.add(key, "", 1.0, "", "right")
    ours = rows(audited)[0] if json.loads(rows(audited)[0].read_bytes())["who"] == "Ann" else rows(audited)[-1]
    (theirs,) = (path for path in rows(audited) if path.parent != ours.parent)
    theirs.rename(ours.with_name("000012.json"))
    (result,) = read_results(audited.store, audited.release)
    assert any("signed by another key" in each.what for each in result.wrong)


def test_two_people_who_differ_are_named(audited: Corpus, tmp_path: Path) -> None:
    (plan,) = read_plans(audited.store, 1)
    other = AnswerLog(audited.store, plan, open_key(tmp_path / "other.pem"), "Bob")
    other.add(plan.clips[0].key, "", 1.0, "", "noise")
    other.add(plan.clips[1].key, "", 1.0, "", "right")
    (result,) = read_results(audited.store, audited.release)
    assert result.disagreements == [plan.clips[0].key] and sorted(result.signers.values()) == [2, 12] and not result.wrong


def test_a_release_that_was_replaced_is_told(audited: Corpus) -> None:
    (plan,) = read_plans(audited.store, 1)
    audited.store.replace("releases/000001.json", audited.store.get("releases/000001.json") + b" ")
    _, wrong = read_answers(audited.store, plan)
    assert [each.what for each in wrong] == ["is not the release that was listened to"]


def test_a_changed_plan_is_refused(audited: Corpus) -> None:
    (path,) = Path(audited.store.root, "audits").rglob("plan.json")
    path.write_bytes(path.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    with pytest.raises(StorageError, match="its name is not its hash"):
        read_plans(audited.store, 1)
    path.write_bytes(b"[]")
    with pytest.raises(SchemaError, match="not the plan of an audit"):
        read_plans(audited.store, 1)


def test_nobody_has_listened(spoken: Corpus) -> None:
    assert read_results(spoken.store, spoken.release) == [] and label_error_sentence(spoken.store, spoken.release) is None
    plan = make_plan(spoken.store, spoken.release)
    assert summarize(plan, []).overall.high == 1.0
    assert replace(plan, seed=3).sha256 != plan.sha256 and Store(spoken.uri).exists("releases/000001.json")
