"""Audio of codes that arrive in chunks, each part as soon as it is final.

Shapes: S samples at 24 kHz, K codebooks, T frames, P frames of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec import Codec
from voxbeam.schemas.formats import CODEC_HOP


def decode_chunks(
    codec: Codec, prompt_KP: NDArray[np.int16], chunks: Iterable[NDArray[np.int16]]
) -> Iterator[NDArray[np.float32]]:
    """Audio of codes that arrive in chunks [K, T], each part as soon as no later code can change it.

    The prompt gives the first chunk its context and is not part of the output. The parts together equal the audio of all codes.
    """
    codes_KT, returned = prompt_KP, prompt_KP.shape[1]
    for fresh_KT in chunks:
        codes_KT = np.concatenate([codes_KT, fresh_KT], axis=1)
        final = codes_KT.shape[1] - codec.lookahead
        if final > returned:
            yield codec.decode([codes_KT])[0][returned * CODEC_HOP : final * CODEC_HOP]
            returned = final
    if returned < codes_KT.shape[1]:
        yield codec.decode([codes_KT])[0][returned * CODEC_HOP :]
