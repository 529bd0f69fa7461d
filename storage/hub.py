"""Hub: the files of a model on the Hugging Face hub, in the hub's own cache.

What the cache has is taken without asking the hub, so that one machine loads the bytes that it has hashed. A file that is not
there is fetched.
"""

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from voxbeam.storage.local_copies import sha256_of


def fetch_hub_file(name: str) -> Path:
    """A file `owner/repository/path`. Raises OSError when it is neither in the cache nor to be fetched."""
    from huggingface_hub import hf_hub_download

    owner, repository, path = name.split("/", 2)
    try:
        try:
            return Path(hf_hub_download(f"{owner}/{repository}", path, local_files_only=True))
        except OSError:
            return Path(hf_hub_download(f"{owner}/{repository}", path))
    except (OSError, ValueError) as error:
        raise OSError(f"cannot fetch {name} from the hub: {error}; fetch it elsewhere and give its path") from error


def hub_folder(repository: str, required: str, patterns: Sequence[str] | None = None) -> Path:
    """The folder of a repository that has at least the file `required`, and those that match a pattern (None: all).

    Raises OSError when they are neither in the cache nor to be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    names = list(patterns) if patterns is not None else None
    try:
        try:
            folder = Path(snapshot_download(repository, allow_patterns=names, local_files_only=True))
            if (folder / required).is_file():
                return folder
        except OSError:
            pass  # nothing of it is in the cache
        folder = Path(snapshot_download(repository, allow_patterns=names))
        if not (folder / required).is_file():
            raise FileNotFoundError(f"it has no {required}")
        return folder
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise OSError(
            f"cannot fetch {repository} from the hub: {str(error).splitlines()[0]}; fetch it elsewhere and give its path"
        ) from error


def folder_hash(folder: Path, patterns: Sequence[str] | None = None) -> str:
    """SHA-256 of the names and contents of all files of a folder, or of those whose name matches a pattern."""
    names = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    chosen = [name for name in names if patterns is None or any(fnmatch(name.as_posix(), pattern) for pattern in patterns)]
    return hashlib.sha256("".join(f"{name}:{sha256_of(folder / name)}\n" for name in chosen).encode()).hexdigest()
