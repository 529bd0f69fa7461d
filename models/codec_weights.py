"""Which file a codec's name means: the embedded one, EnCodec's own, or one at a path, in a bucket or on a hub."""

from pathlib import Path

from voxbeam.models.codec import EMBEDDED_WEIGHTS, ENCODEC_24KHZ_FILE, ENCODEC_24KHZ_SHA256
from voxbeam.storage.cache import downloaded, hub_file, local_model

ENCODEC_24KHZ_URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{ENCODEC_24KHZ_FILE}"


def codec_weights(codec: str) -> tuple[Path, str | None]:
    """Local file of a codec and the hash it must have, if that is known.

    `codec` is 'embedded', 'encodec_24khz' (from the address at which it was published), a path, a bucket address, or
    `owner/repository/file` of a hub. Raises OSError, naming the remedy, when there is no such file.
    """
    if codec == "embedded":
        return EMBEDDED_WEIGHTS, None
    if codec == "encodec_24khz":
        return downloaded(ENCODEC_24KHZ_URL), ENCODEC_24KHZ_SHA256
    path = local_model(codec)
    if path.is_file():
        return path, None
    if codec.count("/") >= 2 and not Path(codec).is_absolute() and not codec.startswith("."):
        return hub_file(codec), None
    raise FileNotFoundError(
        f"no codec {codec!r}: give 'embedded', 'encodec_24khz', a path, a bucket address, or a hub's owner/repository/file"
    )
