"""Answers: what people said of clips, as signed rows below the corpus that are added and never changed.

`audits/<release>/<plan>/<signer>/<number>.json` is one answer, put create-only. Each names the hash of the one before it, so a
row that was changed, replaced or taken out of the middle is told; that the last rows are missing cannot be seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from voxbeam.audit.plan import AuditPlan
from voxbeam.audit.signing import is_signed, public_name, sign
from voxbeam.schemas.errors import StorageError, VoxbeamError
from voxbeam.storage.releases import release_path
from voxbeam.storage.store import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RIGHT, UNSURE = "right", "unsure"
ERRORS = ("wrong_text", "two_voices", "cut_word", "noise")
ANSWERS = (RIGHT, *ERRORS, UNSURE)
VERSION = 2
"""of a row: 2 since what is signed is in canonical form by RFC 8785"""
_MAX_BYTES = 64 << 10
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row."""

    key: str
    answer: str | None
    """one of ANSWERS; None takes back what its signer said of the clip"""
    correction: str | None
    """what is really said, if the listener wrote it down"""
    text: str
    """the text that was shown"""
    stratum: str
    weight: float
    """samples of the release that the clip stands for"""
    who: str
    time: str
    """UTC, ISO 8601"""
    signer: str
    """public key, in hex"""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A row that does not count, and why."""

    path: str
    what: str


def plan_folder(plan: AuditPlan) -> str:
    return f"audits/{plan.release:06d}/{plan.name}"


def put_plan(store: Store, plan: AuditPlan) -> None:
    """Keeps a plan beside its answers, so that they can be counted without the tables of the release."""
    store.put_if_absent(f"{plan_folder(plan)}/plan.json", plan.to_json())


def read_plans(store: Store, release: int) -> list[AuditPlan]:
    """The plans of a release by which somebody began to listen. Raises StorageError for one that was changed."""
    plans = []
    for path, _ in store.walk(f"audits/{release:06d}/"):
        if path.endswith("/plan.json"):
            plan = AuditPlan.from_json(store.get(path))
            if path != f"{plan_folder(plan)}/plan.json":
                raise StorageError(f"{store.uri(path)} was changed: its name is not its hash", remedy="restore it from a backup")
            plans.append(plan)
    return plans


class AnswerLog:
    """The answers of one signer to one plan, to which more are added."""

    def __init__(
        self, store: Store, plan: AuditPlan, key: Ed25519PrivateKey, who: str, now: Callable[[], datetime] | None = None
    ):
        self._store, self._plan, self._key, self._who = store, plan, key, who
        self._now = now or (lambda: datetime.now(UTC))
        self._folder = f"{plan_folder(plan)}/{public_name(key)}"

    def add(self, key: str, stratum: str, weight: float, text: str, answer: str | None, correction: str | None = None) -> None:
        """Adds a row. Raises StorageError when another page of the same signer keeps adding rows at the same time."""
        if answer is not None and answer not in ANSWERS:
            raise VoxbeamError(f"{answer!r} is no answer", remedy=f"the answers are {', '.join(ANSWERS)}")
        for _ in range(_ATTEMPTS):
            paths = [path for path, _ in self._store.walk(f"{self._folder}/")]
            previous = hashlib.sha256(self._store.get(paths[-1])).hexdigest() if paths else None
            tree = {
                "version": VERSION,
                "release": self._plan.release,
                "release_sha256": self._plan.release_sha256,
                "plan_sha256": self._plan.sha256,
                "number": len(paths),
                "previous": previous,
                "key": key,
                "stratum": stratum,
                "weight": weight,
                "text": text,
                "answer": answer,
                "correction": correction,
                "who": self._who,
                "time": self._now().isoformat(timespec="seconds"),
            }
            if self._store.put_if_absent(f"{self._folder}/{len(paths):06d}.json", sign(self._key, tree)):
                return
        raise StorageError("another audit page of the same person adds answers at this moment", remedy="close one of them")


def read_answers(store: Store, plan: AuditPlan) -> tuple[list[Answer], list[Wrong]]:
    """All answers to a plan, each signer's in order; and what does not count."""
    answers, wrong = list[Answer](), list[Wrong]()
    folder = plan_folder(plan)
    by_signer: dict[str, list[str]] = {}
    for path, _ in store.walk(f"{folder}/"):
        if path != f"{folder}/plan.json":
            by_signer.setdefault(path.removeprefix(f"{folder}/").partition("/")[0], []).append(path)
    release = store.get(release_path(plan.release)) if store.exists(release_path(plan.release)) else b""
    if hashlib.sha256(release).hexdigest() != plan.release_sha256:
        wrong.append(Wrong(path=release_path(plan.release), what="is not the release that was listened to"))
    for signer, paths in sorted(by_signer.items()):
        previous: str | None = ""
        for number, path in enumerate(paths):
            content = store.get(path)
            found = _check(content, plan, signer)
            if isinstance(found, str):
                wrong.append(Wrong(path=path, what=found))
                previous = None  # nobody can tell what the next row should follow
                continue
            expected = f"{folder}/{signer}/{found['number']:06d}.json"
            gap = previous is not None and (found["previous"] or "") != previous
            if path != expected or gap or (number == 0 and found["number"] != 0):
                wrong.append(
                    Wrong(path=path, what="does not follow the row before it: rows were taken out or put in another place")
                )
            previous = hashlib.sha256(content).hexdigest()
            answers.append(_answer(found))
    return answers, wrong


def _check(content: bytes, plan: AuditPlan, signer: str) -> dict[str, Any] | str:
    """A row that counts, or why it does not."""
    if len(content) > _MAX_BYTES:
        return f"has {len(content)} bytes"
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return "is not JSON"
    if isinstance(tree, dict) and tree.get("version") != VERSION:
        return f"is of version {tree.get('version')!r}, this voxbeam reads {VERSION}"
    if not isinstance(tree, dict) or not is_signed(tree):
        return "was changed after it was signed"
    if tree["public_key"] != signer:
        return "is signed by another key than that of its folder"
    if tree.get("plan_sha256") != plan.sha256:
        return "is an answer to another plan"
    if tree.get("key") not in {clip.key for clip in plan.clips} or tree.get("answer") not in (*ANSWERS, None):
        return "is no answer to a clip of the plan"
    return tree


def _answer(tree: dict[str, Any]) -> Answer:
    names = ("key", "answer", "correction", "text", "stratum", "weight", "who", "time")
    return Answer(**{name: tree[name] for name in names}, signer=tree["public_key"])


def latest(answers: Iterable[Answer]) -> dict[tuple[str, str], Answer]:
    """What each signer says of each clip now, by signer and key; what was taken back is not there."""
    found: dict[tuple[str, str], Answer] = {}
    for answer in answers:
        found.pop((answer.signer, answer.key), None)
        if answer.answer is not None:
            found[answer.signer, answer.key] = answer
    return found
