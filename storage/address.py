"""Addresses: what a user wrote for a file, a folder or a bucket, made absolute once, before any work begins."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from voxbeam.schemas.errors import AddressError

BUCKET_SCHEMES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_ODD = re.compile(r"/(?:\.{0,2})(?:/|$)")
"""a part of a path that is empty, `.` or `..`"""
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "azure": "az"}


def resolve_address(address: str, base: str | None = None) -> str:
    """The absolute path or bucket address that an address names.

    A relative path is below `base`, an absolute folder or bucket prefix; below the working directory if None. `~/` is the home
    directory, and `file://` is taken off. Raises AddressError for everything that voxbeam cannot read, such as `https://`.
    """
    if not address:
        raise AddressError("an address is empty")
    if "\0" in address:
        raise AddressError(f"the address {address!r} contains a NUL character")
    scheme, rest = _split_scheme(address)
    if scheme in BUCKET_SCHEMES:
        return _bucket(scheme, rest)
    if scheme == "file":
        return _absolute(_file_path(rest), base=None)
    if scheme is not None:
        raise _cannot_read(address, scheme)
    path = _with_home(address)
    base_scheme, prefix = _split_scheme(base) if base is not None else (None, "")
    if base_scheme is None or path.startswith("/"):
        return _absolute(path, base)
    return _bucket(base_scheme, _below(prefix, path))


def _split_scheme(address: str) -> tuple[str | None, str]:
    """The scheme in lower case, and what follows `://`; None and the address when it has none."""
    match = _SCHEME.match(address)
    return (match[1].lower(), address[match.end() :]) if match else (None, address)


def _bucket(scheme: str, rest: str) -> str:
    name = rest.partition("/")[0]
    if not _BUCKET.fullmatch(name):
        raise AddressError(
            f"{scheme}://{rest}: {name!r} cannot be the name of a bucket",
            remedy="bucket names are letters, digits, '.', '_' and '-'",
        )
    return f"{scheme}://{rest}"


def _below(prefix: str, path: str) -> str:
    """A relative path below `<bucket>/<folder>`, without `.` and `..`."""
    parts = prefix.rstrip("/").split("/")
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
        if not parts:
            raise AddressError(f"{path!r} leaves the bucket of its listing")
    return "/".join(parts)


def _file_path(rest: str) -> str:
    """The path of a file:// address, whose special characters may be written as %20."""
    path = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    if not path.startswith("/"):
        raise AddressError(f"file://{rest} names another machine", remedy="write file:/// and an absolute path")
    return path if os.path.lexists(path) else unquote(path, errors="surrogateescape")


def _with_home(address: str) -> str:
    if not address.startswith("~"):
        return address
    try:
        return str(Path(address).expanduser())
    except RuntimeError:  # no such user: a folder may be named so
        return address


def _absolute(path: str, base: str | None) -> str:
    if path.startswith("/") and not _ODD.search(path):
        return _in_utf_8(path)
    joined = Path(base or Path.cwd()) / path
    return _in_utf_8(str(joined.resolve() if ".." in joined.parts else joined))


def _in_utf_8(path: str) -> str:
    """The path. Raises AddressError for one with other bytes, which only some of the libraries could open."""
    if not path.isascii() and any("\ud800" <= character <= "\udfff" for character in path):
        raise AddressError(f"{path!r} is not UTF-8", remedy="rename the file or folder")
    return path


def _cannot_read(address: str, scheme: str) -> AddressError:
    if other := _OTHER_NAMES.get(scheme):
        return AddressError(f"{address}: voxbeam does not know {scheme}://", remedy=f"write {other}://")
    remedy = (
        "download it, and name the local copy"
        if scheme in ("http", "https", "ftp", "ftps", "hf")
        else f"use a local path, or {', '.join(f'{known}://' for known in BUCKET_SCHEMES)}"
    )
    return AddressError(f"{address}: voxbeam cannot read {scheme}:// addresses", remedy=remedy)
