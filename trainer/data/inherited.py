"""Inherited: whether weights that a run begins with, or began with, learned from somebody who was taken down since."""

from __future__ import annotations

from collections.abc import Mapping

from voxbeam.models.embedded_voice import EMBEDDED_VOICE
from voxbeam.models.lineage import Ancestor, Lineage
from voxbeam.safety.tombstones import Tombstones, find_taken_down, require_extends
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.release import FeedHead
from voxbeam.storage.store import Store
from voxbeam.trainer.data.consumed import read_steps, release_of

_FREE = "`voxbeam takedown checkpoints` says which checkpoints are free of them; else train anew, on a release without them"


def require_nobody_taken_down(lineage: Lineage, feeds: Mapping[str, Tombstones]) -> list[str]:
    """What cannot be told of a lineage, one sentence for each run; nothing if all is known to be well.

    `feeds` are the tombstones of corpora, by address. Raises ConsentError for weights that learned from somebody who was taken
    down, or where that cannot be told any more since their release is gone; LedgerError where tombstones are gone that they saw.
    """
    unknown: list[str] = []
    asked: list[Ancestor] = []  # both models may be of one run
    for one in (one for runs in lineage.models.values() for one in runs if one.where != EMBEDDED_VOICE):
        if one in asked:
            continue
        asked.append(one)
        if sentence := _check(one, feeds):
            unknown.append(sentence)
        if one.before is not None:
            unknown.append(f"{one.where} began with {one.before}, and does not say what that learned from")
    return unknown


def _check(one: Ancestor, feeds: Mapping[str, Tombstones]) -> str:
    """What cannot be told of a run, in a sentence; "" if it is known that it learned from nobody who was taken down."""
    for address, tombstones in feeds.items():
        for seen in (seen for seen in one.feeds if seen["feed"] == address):
            require_extends(tombstones, _head(seen), Store(address), one.where)
    for address in feeds:
        corpus = Store(address)
        if (release := release_of(corpus, one.data)) is None:
            continue
        if (found := find_taken_down(corpus, release, feeds)) is None:
            return ""
        if read := next(read_steps(corpus, release, list(feeds.values()), one), None):
            raise ConsentError(
                f"{one.where} learned from somebody who was taken down, first at step {read.step} ({found[1]})", remedy=_FREE
            )
        return ""
    asked = [(seen, feeds[seen["feed"]]) for seen in one.feeds if seen["feed"] in feeds]
    for seen, tombstones in asked:
        if len(tombstones.all) > seen["count"]:
            raise ConsentError(
                f"{seen['feed']} has taken down people since {one.where} learned from it, and has its release no more: whether "
                "it learned from them cannot be told",
                remedy="name a copy of the corpus that has the release (--tombstones), or train anew",
            )
    if asked:
        return ""
    where = ", ".join(str(seen["feed"]) for seen in one.feeds) or "a corpus that it does not name"
    return f"whether {one.where} learned from somebody who was taken down since is not known: it learned from {where}"


def _head(seen: Mapping[str, object]) -> FeedHead | None:
    return FeedHead(count=int(str(seen["count"])), digest=str(seen["digest"])) if seen["count"] else None
