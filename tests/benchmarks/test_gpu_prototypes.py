"""The prototypes in benchmarks/gpu_parts compute what the product computes."""

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import create_block_mask

from voxbeam.models.batch import Batch, collate
from voxbeam.models.valle import ARModel, LossSums, NARModel, draw_levels

from benchmarks.gpu_parts.attention import BLOCK, Documents, block_mask, flex, masked
from benchmarks.gpu_parts.packed import BlockHalves, PackedModel, after_attention, before_attention
from benchmarks.gpu_parts.synthetic_data import TINY, synthetic_batch, synthetic_utterance
from benchmarks.gpu_parts.train import packed_size


@pytest.fixture
def batch() -> Batch:
    """Four utterances of different lengths, the first with a prompt."""
    rng = np.random.default_rng(3)
    rows = [synthetic_utterance(rng, f"u{n}", n) for n in (70, 9, 41, 23)]
    return collate([rows[0]._replace(prompt_frames=20), *rows[1:]])


def losses(model: ARModel | NARModel, batch: Batch, packed: PackedModel | None = None) -> tuple[LossSums, list[torch.Tensor]]:
    """The loss sums of a batch, and the gradients of its loss."""
    model.zero_grad()
    levels = () if isinstance(model, ARModel) else draw_levels(batch, model.n_codebooks, seed=1)
    sums = (packed or model)(batch, *levels)
    if sums.loss.requires_grad:
        sums.loss.backward()
    return sums, [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", [ARModel, NARModel])
def test_packed_utterances_have_the_loss_of_padded_ones(kind: type[ARModel] | type[NARModel], batch: Batch) -> None:
    torch.manual_seed(0)
    model = kind(TINY).eval()
    padded, padded_gradients = losses(model, batch)
    packed, packed_gradients = losses(model, batch, PackedModel(model, packed_size([batch]), masked))
    assert float(packed.loss.detach()) == pytest.approx(float(padded.loss.detach()), rel=1e-5, abs=1e-4)
    assert [int(v) for v in packed[1:]] == [int(v) for v in padded[1:]]
    for one, other in zip(padded_gradients, packed_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [ARModel, NARModel])
def test_so_do_utterances_packed_with_flex_attention(kind: type[ARModel] | type[NARModel], batch: Batch) -> None:
    torch.manual_seed(0)
    model = kind(TINY).eval()
    with torch.no_grad():  # on a CPU flex-attention has no backward
        padded, _ = losses(model, batch)
        packed, _ = losses(model, batch, PackedModel(model, packed_size([batch]), flex, BlockHalves()))
    assert float(packed.loss) == pytest.approx(float(padded.loss), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("kind", [ARModel, NARModel])
def test_layers_are_compiled_once_for_all_batches(kind: type[ARModel] | type[NARModel]) -> None:
    torch.compiler.reset()
    batches = [synthetic_batch(200, seed, 20, 60) for seed in range(3)]
    assert len({len(batch.keys) for batch in batches}) > 1
    before, after = CompileCounter(), CompileCounter()
    halves = BlockHalves(
        torch.compile(before_attention, backend=before, dynamic=False),
        torch.compile(after_attention, backend=after, dynamic=False),
    )
    model = kind(TINY).train()
    packed = PackedModel(model, packed_size(batches), masked, halves)
    for batch in batches:
        losses(model, batch, packed)
    assert (before.frame_count, after.frame_count) == (1, 1)


def test_a_batch_that_does_not_fit_is_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match="larger size"):
        PackedModel(ARModel(TINY), 128, masked)(batch)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [[3 * BLOCK], [BLOCK, 2 * BLOCK], [5, 200, 1, 300, 6], [BLOCK - 1, 1, 2 * BLOCK]])
def test_blocks_are_those_that_torch_finds_from_all_pairs(lengths: list[int], causal: bool) -> None:
    documents = Documents.from_lengths(lengths, torch.device("cpu"))
    ours = block_mask(documents, causal)
    N = sum(lengths)
    assert ours.mask_mod is not None
    theirs = create_block_mask(ours.mask_mod, None, None, N, N, device="cpu", BLOCK_SIZE=BLOCK)
    assert torch.equal(ours.to_dense(), theirs.to_dense())
    assert ours.full_kv_num_blocks is not None and theirs.full_kv_num_blocks is not None
    assert torch.equal(ours.full_kv_num_blocks, theirs.full_kv_num_blocks)
