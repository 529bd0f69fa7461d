"""Runs functions over batches and halves the batch when memory runs out.

Pad inputs beforehand, to the length of the whole batch: then the size of a batch does not change any result.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from voxbeam.storage.store_errors import summarize_error

log = logging.getLogger(__name__)


class Sliceable(Protocol):
    """A list, a range or an array: it has a length, and slices of its own type."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


B = TypeVar("B", bound=Sliceable)
R = TypeVar("R")
# CTranslate2, cuDNN, cuBLAS, onnxruntime, and torch on a CPU, have no exception class for it.
_OOM_MESSAGES = ("out of memory", "alloc_failed", "failed to allocate memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the GPU or of the machine is exhausted."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    foreign = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return foreign and any(words in str(error).lower() for words in _OOM_MESSAGES)


def empty_cuda_cache() -> None:
    """Returns torch's cached GPU memory to the GPU, where other libraries can allocate it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def map_with_oom_backoff(function: Callable[[B], Sequence[R]], items: B, size: int) -> list[R]:
    """Applies `function` to the items in batches of `size`; returns one result per item, in order.

    When memory runs out, the batch size is halved for this batch and the following ones. Raises what `function` raises, also when
    memory runs out for a single item.
    """
    done: list[R] = []
    while len(done) < len(items):
        batch = items[len(done) : len(done) + size]
        try:
            done += function(batch)
            continue
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            size = (len(batch) + 1) // 2
            log.warning("out of memory with a batch of %d; continuing with %d: %s", len(batch), size, summarize_error(error))
        # only here, outside of `except`: the traceback of the error refers to tensors of the failed batch
        empty_cuda_cache()
    return done
