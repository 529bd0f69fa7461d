"""Target: the folder or bucket that an export is written to, object by object, each whole; a stopped export goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store

MARKER = "export.json"
"""says what the folder is an export of; it is put first"""
CARD = "README.md"
"""is put last: with it, the export is complete"""


class Target:
    """A place for one export. Its objects are named by the plan, so a second run finds those of the first.

    Raises StorageError for a folder that is not empty, unless it is the same export, complete or not.
    """

    def __init__(self, uri: str, plan: dict[str, Any]) -> None:
        self.store = Store(uri)
        content = (json.dumps({"voxbeam_export": 1, **plan}, indent=1, sort_keys=True) + "\n").encode()
        found = {path for path, _ in self.store.walk()}
        if MARKER in found:
            if self.store.get(MARKER) != content:
                raise StorageError(
                    f"{self.store.root} holds another export, or one of another release or version ({MARKER} says which)",
                    remedy="name a new folder with --out, or remove that one",
                )
        elif found:
            raise StorageError(
                f"{self.store.root} is not empty ({len(found)} objects, e.g. {min(found)})",
                remedy="name a new or an empty folder with --out",
            )
        else:
            self.store.put_if_absent(MARKER, content)
        self._found = found

    @property
    def complete(self) -> bool:
        return CARD in self._found

    def has(self, path: str) -> bool:
        """Whether an earlier run has put an object; it is then whole."""
        return path in self._found

    def put(self, path: str, content: bytes) -> None:
        if not self.has(path):
            self.store.put_if_absent(path, content)

    def write(self, path: str, write: Callable[[Path], object]) -> None:
        """Puts what `write` writes into a local file."""
        if self.has(path):
            return
        with TemporaryDirectory() as folder:
            local = Path(folder) / "object"
            write(local)
            self.store.put_file(path, local)
