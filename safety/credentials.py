"""C2PA metadata of a WAV file: who made it, that a trained model made it, and which event allowed it, signed with a local key.

Needs voxbeam[c2pa]. The certificate is made here, once, and no list of trusted ones has it: a reader sees that the file was not
changed since and which key signed it, and calls the signer untrusted. Metadata are gone as soon as a sound is converted; the
watermark is for that.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voxbeam.safety.keys import KeyRing, write_private
from voxbeam.safety.ledger import utc_now
from voxbeam.schemas.errors import ConsentError

TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_TERM = timedelta(days=3650)
_MISSING = "install voxbeam[c2pa]"


def sign_file(path: Path, event: str, keys: KeyRing) -> None:
    """Puts a signed manifest into a WAV file: made by a trained model, allowed by this event. Its samples stay the same.

    Raises ConsentError without voxbeam[c2pa], for another kind of file, and when signing fails; the file is then as it was.
    """
    c2pa = _library()
    if path.suffix.lower() != ".wav":
        raise ConsentError(f"{path}: C2PA metadata are written to WAV files only", remedy="name a .wav file (--out)")
    manifest = {
        "claim_generator_info": [{"name": "voxbeam"}],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA}]}},
            {"label": "org.voxbeam.consent", "data": {"event": event}},
        ],
    }
    signed = path.with_suffix(".signed.wav")
    try:
        key, chain = _certificate(keys)
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None))
        with path.open("rb") as source, signed.open("w+b") as target:
            c2pa.Builder(json.dumps(manifest)).sign(signer, "audio/wav", source, target)
        signed.replace(path)
    except c2pa.C2paError as error:
        raise ConsentError(f"{path} cannot be signed: {error}", remedy="speak without --c2pa, or report it") from error
    finally:
        signed.unlink(missing_ok=True)


def read_credentials(path: Path) -> dict[str, Any] | None:
    """What a file's manifest says: `valid`, `signer`, `event`, `source_type`; None without one, or without voxbeam[c2pa]."""
    try:
        c2pa = _library()
        tree = json.loads(c2pa.Reader(str(path)).json())
    except ConsentError:
        return None
    except c2pa.C2paError:
        return None
    manifest = tree["manifests"][tree["active_manifest"]]
    problems = [one["code"] for one in tree.get("validation_status", []) if one["code"] != "signingCredential.untrusted"]
    facts: dict[str, Any] = {"valid": not problems, "signer": manifest.get("signature_info", {}).get("issuer")}
    for assertion in manifest.get("assertions", []):
        if assertion["label"] == "org.voxbeam.consent":
            facts["event"] = assertion["data"].get("event")
        for action in assertion["data"].get("actions", []) if assertion["label"].startswith("c2pa.actions") else ():
            facts["source_type"] = action.get("digitalSourceType")
    return facts


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise ConsentError("C2PA metadata need a library that is not installed", remedy=_MISSING) from error
    return c2pa


def _certificate(keys: KeyRing) -> tuple[bytes, bytes]:
    """The private key and the certificates, as PEM, of this machine; made when they are first needed."""
    path = keys.folder / "c2pa.pem"
    if not path.exists():
        write_private(path, _new_certificate())
    pem = path.read_bytes()
    end = b"-----END PRIVATE KEY-----\n"
    key, _, chain = pem.partition(end)
    return key + end, chain


def _new_certificate() -> str:
    """A key, its certificate for signing content, and that of the authority which signed it and is thrown away."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _built(_name("voxbeam local authority"), authority, authority, is_authority=True)
    leaf = _built(_name("voxbeam local signer"), key, authority, is_authority=False)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join([private, *(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))]).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "voxbeam")])


def _built(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now = utc_now()
    usage = x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_name("voxbeam local authority"))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _TERM)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer, hashes.SHA256())
