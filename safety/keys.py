"""Keys of an operator: one private file each, in a folder that only its owner can read.

`operator.key` signs events, `vault.key` wraps the keys of subjects' personal data, `pseudonym.key` makes pseudonyms,
`subjects/<pseudonym>.key` signs for a person who was enrolled on this machine, and `watermark.key`, if there is one, marks
sounds. The folder is `$VOXBEAM_KEYS`, else `~/.local/share/voxbeam/keys`. docs/safety.md says how to rotate each.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbeam.schemas.errors import ConsentError

PUBLIC_KEY = b"voxbeam"
"""of watermarks that everybody can read, and forge"""
_BYTES = 32


def data_folder() -> Path:
    """Where the ledger and the keys of this machine are by default."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "voxbeam"


def key_folder() -> Path:
    """`$VOXBEAM_KEYS`, else the folder of this user."""
    return Path(os.environ.get("VOXBEAM_KEYS") or data_folder() / "keys")


@dataclass(frozen=True)
class KeyRing:
    """The keys in a folder. A key is read when it is used; one that is not there is an error, or is made where that is asked."""

    folder: Path

    def operator(self, *, make: bool = False) -> Ed25519PrivateKey:
        """Signs for the operator of a ledger."""
        return self._signing("operator.key", make)

    def subject(self, pseudonym: str, *, make: bool = False) -> Ed25519PrivateKey:
        """Signs for a person who was enrolled on this machine."""
        return self._signing(f"subjects/{pseudonym}.key", make)

    def has_subject(self, pseudonym: str) -> bool:
        return (self.folder / "subjects" / f"{pseudonym}.key").is_file()

    def vault(self, *, make: bool = False) -> bytes:
        """Wraps the keys of subjects' personal data."""
        return self._read("vault.key", make)

    def pseudonym(self, name: str, *, make: bool = False) -> str:
        """The pseudonym of a person: an HMAC of the name, in which case, width and blanks do not count."""
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if not plain:
            raise ConsentError("a person needs a name", remedy="give the name that the person says in the statement (--name)")
        return hmac.new(self._read("pseudonym.key", make), plain.encode(), hashlib.sha256).hexdigest()[:32]

    def recording_pseudonym(self, recording: str, *, make: bool = False) -> str:
        """The pseudonym of a recording in the ledger: an HMAC of its identifier."""
        key = self._read("pseudonym.key", make)
        return hmac.new(key, b"recording\0" + recording.encode(), hashlib.sha256).hexdigest()[:32]

    def watermark(self) -> bytes:
        """Of marks that only this operator can write and read; the public key where there is no `watermark.key`."""
        return self._read("watermark.key", make=False) if (self.folder / "watermark.key").exists() else PUBLIC_KEY

    def stage_operator(self) -> Ed25519PrivateKey:
        """A new operator's key, in `operator.next.key`, for a rotation that has not happened yet."""
        return self._signing("operator.next.key", make=True)

    def adopt_operator(self) -> None:
        """Puts the staged operator's key in place of the old one, which is gone then."""
        (self.folder / "operator.next.key").replace(self.folder / "operator.key")

    def _signing(self, name: str, make: bool) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._read(name, make))

    def _read(self, name: str, make: bool) -> bytes:
        path = self.folder / name
        try:
            if make and not path.exists():
                write_private(path, os.urandom(_BYTES).hex() + "\n")
            if path.stat().st_mode & 0o077:
                raise ConsentError(f"others can read the key {path}", remedy=f"chmod 600 {path}")
            content = bytes.fromhex(path.read_text().strip())
        except (OSError, ValueError) as error:
            raise ConsentError(
                f"there is no usable key {path} ({type(error).__name__})",
                remedy="name the folder with the ledger's keys (VOXBEAM_KEYS), or restore it from its backup",
            ) from error
        if len(content) != _BYTES:
            raise ConsentError(f"the key {path} has {len(content)} bytes, not {_BYTES}", remedy="restore it from its backup")
        return content


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public key of a private one, in hex."""
    return key.public_key().public_bytes_raw().hex()


def write_private(path: Path, content: str) -> None:
    """A new file that only its owner can read; one that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
