"""Cache: from the name of a model to a local file or folder, and to the hash that identifies it.

A name is a local path, a bucket address (copied once into the cache), or the name of a model on a hub, which the engine that
uses it loads by itself. The cache is `$VOXBEAM_CACHE`, else `~/.cache/voxbeam`.
"""

import hashlib
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

from voxbeam.storage.hub import folder_hash
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.store import Store, is_bucket


def cache_folder() -> Path:
    """Folder of models from buckets and the web."""
    return Path(os.environ.get("VOXBEAM_CACHE", Path.home() / ".cache" / "voxbeam"))


def resolve_model(name: str) -> Path:
    """A model's local path. A name that is neither a path nor a bucket address is a hub's, and is returned unchanged.

    Raises FileNotFoundError for a path, absolute or beginning with '.', that does not exist.
    """
    if not is_bucket(name):
        path = Path(name)
        if not path.exists() and (path.is_absolute() or name.startswith(".")):
            raise FileNotFoundError(f"there is no model at {name}")
        return path
    target = cache_folder() / hashlib.sha256(name.encode()).hexdigest()[:16] / name.rstrip("/").rsplit("/", 1)[-1]
    if not target.exists():
        _copy_from_bucket(name, target)
    return target


def download(url: str) -> Path:
    """A file from the web, kept in the cache. Raises OSError when the address cannot be reached."""
    target = cache_folder() / url.rsplit("/", 1)[-1]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            try:
                with urllib.request.urlopen(url, timeout=60) as response:
                    shutil.copyfileobj(response, file)
            except OSError as error:
                Path(file.name).unlink()
                raise OSError(
                    f"cannot download {url}: {error}; fetch it elsewhere and give its path or bucket address"
                ) from error
        Path(file.name).replace(target)
    return target


def model_hash(name: str) -> str:
    """Identity of a model at a path or a bucket address: the hash of its bytes. Raises FileNotFoundError for any other name."""
    path = resolve_model(name)
    if path.is_file():
        return sha256_of(path)
    if path.is_dir():
        return folder_hash(path)
    raise FileNotFoundError(f"there is no model at {name}")


def _copy_from_bucket(address: str, target: Path) -> None:
    """Copies a file, or all files below a prefix; the target appears only when it is complete."""
    root, _, last = address.rstrip("/").rpartition("/")
    store = Store(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        staged = Path(folder) / last
        paths = [path for path, _ in store.walk(last + "/")] or [last]
        for path in paths:
            local = staged / path.removeprefix(last).lstrip("/") if path != last else staged
            local.parent.mkdir(parents=True, exist_ok=True)
            with store.local_copy(path) as copy:
                shutil.copyfile(copy, local)
        try:
            staged.replace(target)
        except OSError:  # another process has put the same folder there
            if not target.exists():
                raise
