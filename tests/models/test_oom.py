"""Halving: a batch that memory cannot hold is done in halves, with the same results; an item that is too large says so.

Memory is said to run out by torch's own exception, raised above a size; what is in the batches is real.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException as OnnxRuntimeException

from voxbeam.models.campplus import fbank, load_campplus
from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.oom import is_out_of_memory, map_with_oom_backoff


def full(size: int) -> Callable[[Sequence[Any]], None]:
    """Memory for at most `size` items."""

    def hold(items: Sequence[Any]) -> None:
        if len(items) > size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return hold


@given(st.integers(0, 40), st.integers(1, 50), st.integers(1, 50))
def test_every_item_is_done_once_and_in_order(count: int, size: int, room: int) -> None:
    sizes: list[int] = []

    def double(items: Sequence[int]) -> list[int]:
        full(room)(items)
        sizes.append(len(items))
        return [2 * item for item in items]

    assert map_with_oom_backoff(double, range(count), size) == [2 * item for item in range(count)]
    assert all(done <= min(size, room) for done in sizes)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), ValueError("out of memory, says the text")])
def test_one_item_too_large_and_any_other_error_come_through(error: Exception) -> None:
    def fail(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise error
        return list(items)

    with pytest.raises(type(error)):
        map_with_oom_backoff(fail, range(5), 4)


def test_what_memory_held_is_let_go_before_the_next_try() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def hold(items: Sequence[int]) -> list[int]:
        assert all(tensor() is None for tensor in held)
        found_room = torch.ones(10)
        held.append(weakref.ref(found_room))
        full(1)(items)
        return list(items)

    assert map_with_oom_backoff(hold, range(4), 4) == [0, 1, 2, 3]
    assert len(held) == 6  # 4, 2, and the four one by one


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA failed with error out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (OnnxRuntimeException("Failed to allocate memory for requested buffer of size 1048576"), True),
        (MemoryError("batch_size ( 32) is probably too large."), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (FileNotFoundError("out of memory.wav"), False),
    ],
)
def test_what_says_that_memory_is_full(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as numpys:
        np.empty(1 << 50)
    assert is_out_of_memory(numpys.value)


@pytest.fixture
def batched_codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    """The embedded codec, with one batch for everything, as on a GPU."""
    codec = load_codec(EMBEDDED_WEIGHTS)
    monkeypatch.setattr(codec, "_batches", lambda lengths, per_frame: [list(range(len(lengths)))])
    return codec


def test_halved_batches_of_the_codec_give_the_same_codes_and_sound(
    batched_codec: Codec, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [np.repeat(speech, 2)[start : start + length] for start, length in ((0, 48_000), (90_000, 31_111), (200_000, 70_001))]
    codes = batched_codec.encode(waves)
    sounds = batched_codec.decode(codes)
    for side in ("encoder", "decoder"):
        layers, room = getattr(batched_codec.model, side), full(1)
        layers.register_forward_pre_hook(lambda module, inputs, room=room: room(inputs[0]))
    for one, two in zip(codes, batched_codec.encode(waves), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(sounds, batched_codec.decode(codes), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_halved_batches_of_voices_give_the_same_embeddings(speech: np.ndarray) -> None:
    encoder = load_campplus()
    with torch.inference_mode():
        features = [fbank(torch.from_numpy(speech[start : start + 48_000])) for start in range(0, 400_000, 40_000)]
        whole = encoder.embed(features)
        encoder.register_forward_pre_hook(lambda module, inputs: full(4)(inputs[0]))
        torch.testing.assert_close(encoder.embed(features), whole, rtol=0, atol=1e-5)
