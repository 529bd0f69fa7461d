"""Codes as an npy file: its header is checked against the length of the file before anything is allocated."""

import io

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.formats import CODEBOOK_SIZE, N_CODEBOOKS

MAX_CODES_BYTES = 64 << 20
"""of one sample: more than 15 hours"""


def parse_codes(content: bytes) -> NDArray[np.int16]:
    """Codes, int16 [8, T], of a whole npy file. Raises ValueError for anything else."""
    shape, start = _header(content)
    if len(shape) != 2 or shape[0] != N_CODEBOOKS or shape[1] < 1:
        raise ValueError(f"it has the shape {shape}, not ({N_CODEBOOKS}, frames)")
    if len(content) - start != 2 * N_CODEBOOKS * shape[1]:
        raise ValueError(f"it has {len(content) - start} bytes of codes, its shape {shape} needs {2 * N_CODEBOOKS * shape[1]}")
    codes = np.frombuffer(content, np.dtype("<i2"), offset=start).reshape(N_CODEBOOKS, shape[1])
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= CODEBOOK_SIZE:
        raise ValueError(f"it has the code {low if low < 0 else high}; codes are 0 to {CODEBOOK_SIZE - 1}")
    return codes


def _header(content: bytes) -> tuple[tuple[int, ...], int]:
    """The shape of an npy file of int16 in C order, and where its numbers start."""
    file = io.BytesIO(content[:16_384])
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:  # the parser evaluates a literal of Python, which raises many types of errors
        raise ValueError(f"its npy header cannot be read ({type(error).__name__})") from error
    if dtype != np.dtype("<i2") or fortran or not all(0 <= length < 1 << 31 for length in shape):
        raise ValueError(f"it has numbers of type {dtype}, shape {shape}{' in Fortran order' if fortran else ''}, not int16")
    return tuple(shape), file.tell()
