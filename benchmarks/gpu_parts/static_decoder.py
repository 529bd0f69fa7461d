"""Static decoder: AR decoding whose tensors keep their shapes and addresses, so that a CUDA graph can replay a step.

A prototype for `voxbeam.models.valle.ARDecoder`, equal to it up to rounding. Every step attends to the whole cache, with a mask.

Shapes: B utterances, N positions of the cache, L layers, D = d_model, H heads, C channels per head, V codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.models.transformer import TransformerBlock
from voxbeam.models.valle import ARDecoder, ARModel


class StaticDecoder:
    """Continues an `ARDecoder` that has processed its prompts and no step yet. `step` works in place; inference only.

    `dtype` is that of the cache, and must be that of the weights in `model`: set `model` to a converted copy if it differs.
    """

    def __init__(self, decoder: ARDecoder, dtype: torch.dtype = torch.float32) -> None:
        self.model: ARModel = decoder.model
        store_LKBHNC = decoder.cache.store_LKBHNC
        self.length = decoder.cache.length
        self.cache_LKBHNC = store_LKBHNC.to(dtype, copy=True)
        B, N = store_LKBHNC.shape[2], store_LKBHNC.shape[4]
        device = store_LKBHNC.device
        self.mask_B11N = torch.zeros(B, 1, 1, N, dtype=torch.bool, device=device)
        self.mask_B11N[..., : decoder.mask_BS.shape[1]] = decoder.mask_BS[:, None, None]
        self.index_1 = torch.full((1,), self.length, device=device)
        self.position_B = decoder.position_B.clone()
        self.code_B = torch.zeros(B, dtype=torch.int64, device=device)
        self.logits_BV = decoder.logits_BV.clone()
        self.dtype = dtype
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self, code_B: Tensor) -> Tensor:
        """Appends one code to every utterance and returns the logits [B, V + 1] of the next frame.

        The next step overwrites them.
        """
        self.code_B.copy_(code_B)
        if self.graph is not None:
            self.graph.replay()
        else:
            self._step()
        return self.logits_BV

    def capture(self) -> None:
        """Records a step as a CUDA graph, and restores the state afterwards."""
        saved = [tensor.clone() for tensor in self._state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries allocate their workspaces before the capture begins
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        for tensor, value in zip(self._state(), saved, strict=True):
            tensor.copy_(value)
        self.graph = graph

    def _state(self) -> tuple[Tensor, ...]:
        # not the cache: what the warm-up wrote there is masked until a step overwrites it
        return self.mask_B11N, self.index_1, self.position_B, self.logits_BV

    def _step(self) -> None:
        model = self.model
        self.mask_B11N.index_fill_(3, self.index_1, True)
        x_B1D = model.embed_codes(self.code_B[:, None], self.position_B[:, None]).to(self.dtype)
        for index, layer in enumerate(model.transformer.layers):
            assert isinstance(layer, TransformerBlock)
            x_B1D = self._block(index, layer, x_B1D)
        y_BD = model.transformer.norm(x_B1D, None)[:, 0]
        self.logits_BV.copy_(model.logits(y_BD.to(model.code_embedding.weight.dtype)))
        self.index_1.add_(1)
        self.position_B.add_(1)

    def _block(self, index: int, layer: TransformerBlock, x_B1D: Tensor) -> Tensor:
        """`TransformerBlock.forward` of one position."""
        B, _, D = x_B1D.shape
        qkv_B1D = layer.qkv_proj(layer.attn_norm(x_B1D, None))
        q_BH1C, k_BH1C, v_BH1C = qkv_B1D.view(B, 1, 3, layer.n_heads, D // layer.n_heads).permute(2, 0, 3, 1, 4).unbind(0)
        k_BHNC, v_BHNC = self.cache_LKBHNC[index]
        k_BHNC.index_copy_(2, self.index_1, k_BH1C)
        v_BHNC.index_copy_(2, self.index_1, v_BH1C)
        y_BH1C = F.scaled_dot_product_attention(q_BH1C, k_BHNC, v_BHNC, attn_mask=self.mask_B11N)
        x_B1D = x_B1D + layer.out_proj(y_BH1C.transpose(1, 2).reshape(B, 1, D))
        return x_B1D + layer.down_proj(F.gelu(layer.up_proj(layer.mlp_norm(x_B1D, None))))
