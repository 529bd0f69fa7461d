"""Personal data of subjects, each under a key of its own: deleting that key deletes the data from every copy of the ledger.

The key of a subject is an object beside the events, `vault/<pseudonym>`, wrapped with the operator's vault key. Events hold only
what was sealed with it. Deleting the object shreds: not in a bucket that keeps versions, nor in backups of the folder `vault`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from voxbeam.safety.envelope import canonical_json
from voxbeam.safety.keys import KeyRing
from voxbeam.schemas.errors import ConsentError
from voxbeam.storage.store import Store

_NONCE = 12


def _path(subject: str) -> str:
    return f"vault/{subject}"


def _encrypt(key: bytes, content: bytes, about: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, content, about.encode())


def _decrypt(key: bytes, content: bytes, about: str) -> bytes:
    return AESGCM(key).decrypt(content[:_NONCE], content[_NONCE:], about.encode())


def _subject_key(store: Store, keys: KeyRing, subject: str) -> bytes:
    return _decrypt(keys.vault(), store.get(_path(subject)), subject)


def seal(store: Store, keys: KeyRing, subject: str, personal: Mapping[str, Any]) -> str:
    """Personal data as text for an event. The subject gets a key if it has none."""
    store.put_if_absent(_path(subject), _encrypt(keys.vault(make=True), AESGCM.generate_key(256), subject))
    try:
        key = _subject_key(store, keys, subject)
    except InvalidTag as error:
        raise _not_ours(store, subject) from error
    return base64.b64encode(_encrypt(key, canonical_json(personal), subject)).decode()


def unseal(store: Store, keys: KeyRing, subject: str, sealed: str) -> dict[str, Any] | None:
    """What `seal` was given; None once it was shredded. Raises ConsentError for data that these keys do not open."""
    try:
        content = _decrypt(_subject_key(store, keys, subject), base64.b64decode(sealed, validate=True), subject)
        return dict(json.loads(content))
    except FileNotFoundError:
        return None
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise _not_ours(store, subject) from error


def shred(store: Store, subject: str) -> None:
    """Deletes the key of a subject, and with it all that was sealed for it."""
    store.delete([_path(subject)])


def _not_ours(store: Store, subject: str) -> ConsentError:
    return ConsentError(
        f"the personal data of {subject} in {store.root} cannot be opened",
        remedy="use the keys of the ledger's operator (VOXBEAM_KEYS)",
    )
