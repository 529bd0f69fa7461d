"""DSSE envelopes: a JSON object in canonical form (RFC 8785) with Ed25519 signatures over it.

The identifier of a key is the public key itself, in hex, so an envelope is checked without any list of keys. Which keys may sign
what is for the reader to decide (`state.py`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from voxbeam.safety.keys import public_hex
from voxbeam.schemas.errors import LedgerError
from voxbeam.storage.bounded_json import parse_object

PAYLOAD_TYPE = "application/vnd.voxbeam.safety+json"
MAX_BYTES = 1 << 20
MAX_SIGNATURES = 4


@dataclass(frozen=True)
class Envelope:
    """A checked envelope."""

    payload: dict[str, Any]
    signers: frozenset[str]
    """public keys, in hex, each of whose signature is right; at least one"""
    digest: str
    """SHA-256 of the envelope's bytes, in hex"""


def canonical_json(tree: Mapping[str, Any]) -> bytes:
    """The one way to write a JSON object (RFC 8785)."""
    return bytes(rfc8785.dumps(dict(tree)))


def seal_envelope(payload: Mapping[str, Any], keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The envelope of a payload, signed by every key."""
    body = canonical_json(payload)
    signatures = [{"keyid": public_hex(key), "sig": _to_base64(key.sign(_signed_bytes(body)))} for key in keys]
    signatures.sort(key=lambda signature: signature["keyid"])
    return canonical_json({"payload": _to_base64(body), "payloadType": PAYLOAD_TYPE, "signatures": signatures})


def open_envelope(content: bytes, where: str, max_bytes: int = MAX_BYTES) -> Envelope:
    """The payload and the signers. Raises LedgerError, naming `where`, unless every signature is right and the form canonical."""
    try:
        tree = parse_object(content, max_bytes)
        body = _from_base64(tree["payload"])
        payload = parse_object(body, max_bytes)
        if tree.keys() != {"payload", "payloadType", "signatures"} or tree["payloadType"] != PAYLOAD_TYPE:
            raise ValueError("it is of another type")
        if canonical_json(payload) != body or canonical_json(tree) != content:
            raise ValueError("it is not in canonical form")
        signatures = [(str(one["keyid"]), _from_base64(one["sig"])) for one in tree["signatures"]]
        signers = frozenset(keyid for keyid, _ in signatures)
        if not signatures or len(signers) != len(signatures) or len(signatures) > MAX_SIGNATURES:
            raise ValueError("it has no signature, too many, or one of them twice")
        for keyid, signature in signatures:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(keyid)).verify(signature, _signed_bytes(body))
    except InvalidSignature as error:
        raise _not_intact(where, "a signature does not fit: it was changed") from error
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        rfc8785.CanonicalizationError,
    ) as error:
        raise _not_intact(where, str(error)) from error
    return Envelope(payload, signers, hashlib.sha256(content).hexdigest())


def _not_intact(where: str, why: str) -> LedgerError:
    return LedgerError(f"{where} is no signed statement of voxbeam: {why}", remedy="restore it from a copy that nobody changed")


def _signed_bytes(body: bytes) -> bytes:
    """What is signed: type and payload, each after its length (DSSE's pre-authentication encoding)."""
    kind = PAYLOAD_TYPE.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
