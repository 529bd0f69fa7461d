"""Halving: batches that get smaller where memory runs out, so that a unit too large for a GPU costs time and not the unit.

What is padded must be padded before it comes here, to the same length as in the whole batch: then no result changes.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from voxbeam.storage.store import summarize_error

log = logging.getLogger(__name__)


class Sliceable(Protocol):
    """A list, a range, an array: what has a length, and parts that are of its own kind."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


B = TypeVar("B", bound=Sliceable)
R = TypeVar("R")
# CTranslate2, cuDNN, cuBLAS and onnxruntime have no class of their own for it, nor has torch on a CPU.
_SAYS_SO = ("out of memory", "alloc_failed", "failed to allocate memory", "can't allocate memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the GPU, or of the machine, is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    foreign = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return foreign and any(words in str(error).lower() for words in _SAYS_SO)


def free_memory() -> None:
    """Gives the GPU what torch keeps of it for later: other libraries on it ask the GPU, not torch."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def in_batches(function: Callable[[B], Sequence[R]], items: B, size: int) -> list[R]:
    """`function` over the items in batches of `size`, one result for each item, in order.

    Where memory runs out the batch is halved, and the rest of the items goes on with the smaller one. Raises what the
    function raises, also when memory runs out for a single item.
    """
    done: list[R] = []
    while len(done) < len(items):
        batch = items[len(done) : len(done) + size]
        try:
            done += function(batch)
            continue
        except Exception as error:
            if len(batch) == 1 or not out_of_memory(error):
                raise
            size = (len(batch) + 1) // 2
            log.warning("out of memory with a batch of %d; going on with %d: %s", len(batch), size, summarize_error(error))
        # only here, where the error is gone: its traceback held on to whatever had found room (as a log would, given the error)
        free_memory()
    return done
