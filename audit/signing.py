"""Signing: the Ed25519 key of the person who listens, made at first use, and the signatures of their answers.

What is signed is an object in the canonical form of the ledger (RFC 8785). Needs the libraries of the extra `voxbeam[audit]`,
which are imported when a key or a signature is asked for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxbeam.schemas.errors import VoxbeamError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def key_path() -> Path:
    """Where the key of this user is."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "voxbeam" / "audit.pem"


def open_key(path: Path) -> Ed25519PrivateKey:
    """The key at a path; a new one, which only its owner can read, if there is none.

    Raises VoxbeamError for a file that others can read, or that is no key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.exists():
        _write_new(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise VoxbeamError(f"others can read {path}, the key of your answers (mode {mode:o})", remedy=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise VoxbeamError(f"{path} is no key", remedy="restore it, or remove it: a new one is made then") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise VoxbeamError(f"{path} is not an Ed25519 key", remedy="remove it: a new one is made then")
    return key


def _write_new(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from voxbeam.safety.keys import write_private

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(path, pem.decode())


def public_name(key: Ed25519PrivateKey) -> str:
    """The public key in hex."""
    from voxbeam.safety.keys import public_hex

    return public_hex(key)


def sign(key: Ed25519PrivateKey, tree: dict[str, Any]) -> bytes:
    """A JSON object with the public key and the signature of all the rest of it."""
    from voxbeam.safety.envelope import canonical_json

    tree = {**tree, "public_key": public_name(key)}
    return canonical_json({**tree, "signature": key.sign(canonical_json(tree)).hex()})


def is_signed(tree: dict[str, Any]) -> bool:
    """Whether an object has the signature of the public key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from rfc8785 import CanonicalizationError

    from voxbeam.safety.envelope import canonical_json

    rest = {name: value for name, value in tree.items() if name != "signature"}
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(tree["public_key"]))
        public.verify(bytes.fromhex(tree["signature"]), canonical_json(rest))
    except (InvalidSignature, CanonicalizationError, KeyError, TypeError, ValueError):
        return False
    return True
