"""The configuration of codecs: the first one, and further ones by name."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from voxbeam.schemas.section import Section

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class TokenizeConfig(Section):
    """Audio to EnCodec codes."""

    codec: str = Field(
        "embedded",
        description="'embedded', 'encodec_24khz' (needs voxbeam[encodec]), a path, a bucket address or a hub's file",
    )
    sha256: str | None = Field(None, description="expected hash of the weights; known for 'encodec_24khz'")


def _check(codecs: dict[str, TokenizeConfig]) -> dict[str, TokenizeConfig]:
    """Codecs in order of their names, which become parts of names of files."""
    for name, codec in codecs.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a codec: 1 to 32 lower-case letters, digits and _, a letter first")
        if not codec.codec.strip():
            raise ValueError(f"codecs.{name}.codec is empty")
    return dict(sorted(codecs.items()))


Codecs = Annotated[dict[str, TokenizeConfig], AfterValidator(_check)]
