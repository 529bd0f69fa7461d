"""Blocks: a signed statement beside a model that it learned from people who were taken down. Nothing speaks with it.

It lies in the folder of the run, or beside an exported file, under a name of its own: whoever copies the weights without it takes
the block off. A statement that is damaged blocks too. To lift a block on purpose, delete it.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.models.checkpoint import SUFFIX
from voxbeam.models.embedded_voice import EMBEDDED_VOICE
from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.events import from_time
from voxbeam.safety.ledger import utc_now
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.storage.store import Store

BLOCK_TYPE = "voxbeam.block/1"


def _place(run_uri: str) -> tuple[Store, str]:
    folder = run_uri.rstrip("/")
    if folder.endswith(SUFFIX):
        parent, _, name = folder.rpartition("/")
        return Store(parent or "."), f"{name}.blocked.json"
    return Store(folder), "blocked.json"


def block_run(run_uri: str, first_step: int, key: Ed25519PrivateKey) -> str:
    """Blocks a run or an exported file that read such a sample at `first_step`; returns the address of the statement."""
    store, path = _place(run_uri)
    payload = {"type": BLOCK_TYPE, "at": from_time(utc_now()), "first_step": first_step}
    store.replace(path, seal_envelope(payload, [key]))
    return store.uri(path)


def unblock_run(run_uri: str) -> bool:
    """Takes a block back; False if there is none."""
    store, path = _place(run_uri)
    was = store.exists(path)
    store.delete([path])
    return was


def require_not_blocked(run_uri: str) -> None:
    """Raises ConsentError for a model that is blocked, and for a block that cannot be read."""
    if run_uri == EMBEDDED_VOICE:  # it ships, and is in no folder
        return
    store, path = _place(run_uri)
    if not store.exists(path):
        return
    where = store.uri(path)
    try:
        payload = open_envelope(store.get(path), where).payload
        if payload.get("type") != BLOCK_TYPE:
            raise LedgerError(f"{where} is no block")
        why = f"it learned from somebody who was taken down, first at step {payload.get('first_step')}"
    except LedgerError as error:
        why = f"there is a block that cannot be read ({error.message})"
    raise ConsentError(
        f"{run_uri} is blocked: {why} ({where})",
        remedy="train a model on a release without them; `voxbeam takedown checkpoints` says which checkpoints are free of them",
    )
