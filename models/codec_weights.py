"""Resolves the name of a codec to a file: the embedded codec, the published EnCodec, a path, a bucket address or a hub file."""

from pathlib import Path

from voxbeam.models.codec import EMBEDDED_WEIGHTS, ENCODEC_24KHZ_FILE, ENCODEC_24KHZ_SHA256
from voxbeam.schemas.errors import ModelError
from voxbeam.storage.cache import download, resolve_model
from voxbeam.storage.hub import fetch_hub_file

ENCODEC_24KHZ_URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{ENCODEC_24KHZ_FILE}"


def codec_weights(codec: str) -> tuple[Path, str | None]:
    """Local file of a codec, and the sha256 that it must have, if known.

    `codec` is 'embedded', 'encodec_24khz' (downloaded from where it was published), a path, a bucket address, or
    `owner/repository/file` on a hub. Raises ModelError if there is no such file, OSError if a download fails.
    """
    if codec == "embedded":
        return EMBEDDED_WEIGHTS, None
    if codec == "encodec_24khz":
        return download(ENCODEC_24KHZ_URL), ENCODEC_24KHZ_SHA256
    path = resolve_model(codec)
    if path.is_file():
        return path, None
    if codec.count("/") >= 2 and not Path(codec).is_absolute() and not codec.startswith("."):
        return fetch_hub_file(codec), None
    raise ModelError(
        f"no codec {codec!r}",
        remedy="give 'embedded', 'encodec_24khz', a path, a bucket address, or a hub's owner/repository/file",
    )
