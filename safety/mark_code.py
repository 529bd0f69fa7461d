"""The code of the watermark: 32 bits as six symbols, any four of which give all of them, and the keyed signs of every symbol.

The symbols are the values at six points of the polynomial of degree three, over GF(256), that goes through the four bytes (a
Reed-Solomon code). What a symbol looks like in sound is drawn from the key: one sign for each tile of a period and each value.

Shapes: T tiles in time of a period, F frequency bands, V = 256 values of a symbol, W words.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

DATA, SYMBOLS, VALUES = 4, 6, 256
BITS = 32
_POLYNOMIAL = 0x11D
_LIST = 4
"""likeliest values of each symbol that a decoder combines"""


@cache
def _products() -> NDArray[np.uint8]:
    """The product of every two elements of GF(256)."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = (value << 1) ^ (_POLYNOMIAL if value & 0x80 else 0)
    logs = np.zeros(256, np.int64)
    logs[powers] = np.arange(255)
    products = np.array(powers, np.uint8)[(logs[:, None] + logs[None, :]) % 255]
    products[0], products[:, 0] = 0, 0
    return products


@cache
def _weights(known: tuple[int, ...]) -> NDArray[np.uint8]:
    """Lagrange's weights [symbols, 4] of the symbols at `known` for each symbol."""
    product = _products()
    inverse = {value: int(np.flatnonzero(product[value] == 1)[0]) for value in range(1, 256)}
    weights = np.ones((SYMBOLS, len(known)), np.uint8)
    for wanted in range(SYMBOLS):
        for place, point in enumerate(known):
            for other in set(known) - {point}:
                weights[wanted, place] = product[weights[wanted, place], product[wanted ^ other, inverse[point ^ other]]]
    return weights


def _extend(known: tuple[int, ...], values_W4: NDArray[np.int64]) -> NDArray[np.uint8]:
    """All six symbols [words, symbols] of the words that have these four."""
    terms = _products()[_weights(known)[None], values_W4[:, None, :]]
    return np.bitwise_xor.reduce(terms, axis=2)


def encode(payload: int) -> tuple[int, ...]:
    """The six symbols of 32 bits. Raises ValueError for more."""
    if not 0 <= payload < 1 << BITS:
        raise ValueError(f"a payload has {BITS} bits, and {payload} has more")
    return tuple(_extend(tuple(range(DATA)), np.array([list(payload.to_bytes(DATA, "big"))]))[0].tolist())


def decode(scores_SV: NDArray[np.floating]) -> tuple[int, float]:
    """The payload whose six symbols have the highest sum of scores [symbols, V], among words near the best; and that sum."""
    best = np.argsort(scores_SV, axis=1)[:, -_LIST:]
    words = []
    for known in combinations(range(SYMBOLS), DATA):
        values_W4 = np.stack(np.meshgrid(*(best[point] for point in known), indexing="ij"), axis=-1).reshape(-1, DATA)
        words.append(_extend(known, values_W4))
    words_WS = np.concatenate(words)
    sums_W = scores_SV[np.arange(SYMBOLS), words_WS].sum(axis=1)
    word = words_WS[int(sums_W.argmax())]
    return int.from_bytes(word[:DATA].tobytes(), "big"), float(sums_W.max())


@lru_cache(maxsize=4)
def signs(key: bytes, tiles: int, bands: int) -> NDArray[np.int8]:
    """The signs ±1 [T, F, V] of a key: as good as drawn at random for whoever does not have it."""
    count = tiles * bands * VALUES
    stream = hashlib.shake_256(b"voxbeam watermark 1" + key).digest(count // 8)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    return (bits.astype(np.int8) * 2 - 1).reshape(tiles, bands, VALUES)


@cache
def symbol_of_tile(tiles: int, bands: int) -> NDArray[np.int64]:
    """Which symbol a tile [T, F] belongs to: each has its share of every band and of every time."""
    return (np.arange(tiles)[:, None] + np.arange(bands)[None, :]) % SYMBOLS


def pattern(key: bytes, payload: int, tiles: int, bands: int) -> NDArray[np.int8]:
    """The signs [T, F] that carry a payload."""
    word, owner_TF = encode(payload), symbol_of_tile(tiles, bands)
    value_TF = np.array(word)[owner_TF]
    picked: NDArray[np.int8] = np.take_along_axis(signs(key, tiles, bands), value_TF[..., None], axis=2)[..., 0]
    return picked
