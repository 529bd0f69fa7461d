"""Opens an audit: the plan of a release, the key and the name of the person who listens, and where the audio is from."""

from __future__ import annotations

from voxbeam.audit.answers import AnswerLog
from voxbeam.audit.plan import MAX_CLIPS, make_plan
from voxbeam.audit.session import AuditSession
from voxbeam.audit.signing import key_path, open_key, public_name
from voxbeam.corpus import Corpus


def open_audit(corpus: Corpus, *, who: str, clips: int = MAX_CLIPS, seed: int = 0, sound: str | None = None) -> AuditSession:
    """An audit of a release by this user, called `who`, whose earlier answers count.

    `sound` is `kept`, `codes` or `sources`; None: the kept audio where every sample has it, else audio from the codes, which are
    those of the corpus's `codec_name`.
    """
    plan = make_plan(corpus.store, corpus.release, clips=clips, seed=seed)
    key = open_key(key_path())
    log = AnswerLog(corpus.store, plan, key, who)
    return AuditSession(corpus, plan, log, public_name(key), sound)
