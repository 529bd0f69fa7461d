"""Nearest neighbors by cosine similarity: exact for few vectors, by an inverted file (faiss) for many.

Deterministic: one thread, a fixed seed, and similarities that are computed again from the vectors. Shapes: G vectors, D values, K
neighbors, P pairs.
"""

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 20_000
"""more vectors than this are searched by an inverted file: at this size the exact search takes seconds"""
_BLOCK = 1024
_LISTS_PER_ROOT, _PROBES, _TRAINED_PER_LIST, _ROUNDS, _SEED = 4, 16, 48, 6, 17
"""lists of the inverted file per square root of the vectors; lists that are searched; k-means: vectors a list, rounds, seed"""


def nearest(vector_GD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices [G, K] of the `count` vectors with the largest dot product with each; -1 where there are fewer.

    A vector is not its own neighbor. The order of a row means nothing.
    """
    count = min(count, max(0, len(vector_GD) - 1))
    if count == 0:
        return np.zeros((len(vector_GD), 0), np.int64)
    if len(vector_GD) <= EXACT_UP_TO:
        return _exact(vector_GD, count)
    return _inverted_file(vector_GD, count)


def _exact(vector_GD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    found = np.empty((len(vector_GD), count), np.int64)
    for start in range(0, len(vector_GD), _BLOCK):
        similarity = vector_GD[start : start + _BLOCK] @ vector_GD.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        found[start : start + _BLOCK] = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    return found


def _inverted_file(vector_GD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    import faiss

    faiss.omp_set_num_threads(1)
    size, width = vector_GD.shape
    lists = round(_LISTS_PER_ROOT * size**0.5)
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = _SEED, _ROUNDS, _TRAINED_PER_LIST
    index.cp.spherical = True
    index.train(np.ascontiguousarray(vector_GD[:: max(1, size // (_TRAINED_PER_LIST * lists))]))
    index.add(vector_GD)
    index.nprobe = _PROBES
    found = np.empty((size, count), np.int64)
    for start in range(0, size, 1 << 16):
        _, rows = index.search(vector_GD[start : start + (1 << 16)], count + 1)
        own = rows == np.arange(start, start + len(rows))[:, None]
        own[~own.any(axis=1), -1] = True  # equal vectors may hide a vector from itself
        found[start : start + len(rows)] = rows[~own].reshape(-1, count)
    return found
