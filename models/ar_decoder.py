"""Incremental decoding with the AR model.

Shapes: B utterances, L phones, P prompt frames, N positions of the cache, S positions, D = d_model, V codes.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.models.eight_bits import with_eight_bits
from voxbeam.models.transformer import KeyValueCache, causal_mask, length_mask
from voxbeam.models.valle import ARModel


class ARDecoder:
    """Incremental decoding with a key-value cache. `logits_BV` [B, V + 1] are those of the next frame.

    Utterances of different lengths share a batch: new frames are appended after the longest prompt, and the gaps are masked.
    Equal to the full forward pass up to rounding. Inference only.

    `dtype` is the precision of weights and cache, by default the model's; another one takes a converted copy of the model. With
    `static`, every step attends to the whole cache, and all tensors keep their shapes and addresses, so that `capture` can make
    a CUDA graph of a step: a GPU computes a step faster than a host can launch its kernels one by one. With `eight_bits`, steps
    (not the prompt) are computed with 8 bits a weight, in half the time on a CPU (`models/eight_bits.py`).
    """

    def __init__(
        self,
        model: ARModel,
        phones_BL: Tensor,
        phone_lengths_B: Tensor,
        prompt_BP: Tensor,
        prompt_lengths_B: Tensor,
        max_frames: int,
        *,
        dtype: torch.dtype | None = None,
        static: bool = False,
        eight_bits: bool = False,
    ) -> None:
        weights = model.code_embedding.weight.dtype
        self.dtype = dtype or weights
        self.model = model if self.dtype == weights else copy.deepcopy(model).to(self.dtype)
        x_BSD, mask_BS = self.model.text_embedding(phones_BL, phone_lengths_B)
        input_BP = F.pad(prompt_BP, (1, 0), value=model.start_id)
        x_BSD = torch.cat([x_BSD, self.model.embed_codes(input_BP, 0)], dim=1).to(self.dtype)
        B, S = x_BSD.shape[:2]
        filled_BS = torch.cat([mask_BS, length_mask(prompt_lengths_B + 1, input_BP.shape[1])], dim=1)
        self.bias_BN = torch.zeros(B, S + max_frames, dtype=self.dtype, device=x_BSD.device)  # what attention adds to its scores
        self.bias_BN.masked_fill_(~F.pad(filled_BS, (0, max_frames)), -torch.inf)
        self.cache = KeyValueCache(model.transformer.config, B, S + max_frames, like=x_BSD)
        y_BSD = self.model.transformer(x_BSD, causal_mask(filled_BS), cache=self.cache)
        last_B = S - input_BP.shape[1] + prompt_lengths_B
        y_B1D = y_BSD[torch.arange(B, device=y_BSD.device), last_B][:, None]
        self.logits_BV = self.model.logits(y_B1D)[:, 0].float()
        self.position_B = prompt_lengths_B + 1
        self.code_B = torch.zeros_like(prompt_lengths_B)
        if static:
            self.cache.fix()
        if eight_bits:
            self.model = with_eight_bits(self.model)
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self, code_B: Tensor) -> Tensor:
        """Appends one code to every utterance and returns the logits [B, V + 1] of the next frame."""
        self.code_B.copy_(code_B)
        if self.graph is not None:
            self.graph.replay()
        else:
            self._step()
        return self.logits_BV.clone()

    def capture(self) -> None:
        """Records a step of a static decoder as a CUDA graph; the decoder's state is as before."""
        saved, length = [tensor.clone() for tensor in self._state], self.cache.length
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries allocate their workspaces before the capture begins
            for _ in range(2):
                self._restore(saved, length)
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self._restore(saved, length)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the GPU meanwhile
            self._step()
        self._restore(saved, length)
        self.graph = graph

    @property
    def _state(self) -> list[Tensor]:
        """What a step changes, but for the cache's content: what a warm-up writes there is masked until a step overwrites it."""
        state = (self.bias_BN, self.position_B, self.logits_BV, self.cache.end_1)
        return [tensor for tensor in state if tensor is not None]

    def _restore(self, saved: list[Tensor], length: int) -> None:
        for tensor, value in zip(self._state, saved, strict=True):
            tensor.copy_(value)
        self.cache.length = length

    def _step(self) -> None:
        x_B1D = self.model.embed_codes(self.code_B[:, None], self.position_B[:, None]).to(self.dtype)
        if self.cache.end_1 is not None:
            self.bias_BN.index_fill_(1, self.cache.end_1, 0)
            bias_BN = self.bias_BN
        else:
            self.bias_BN[:, self.cache.length] = 0
            bias_BN = self.bias_BN[:, : self.cache.length + 1]
        y_B1D = self.model.transformer(x_B1D, bias_BN[:, None, None], cache=self.cache)
        self.position_B.add_(1)
        self.logits_BV.copy_(self.model.logits(y_B1D)[:, 0])
