"""Decoding with and without a key-value cache: AR codes of a batch, same weights and prompts, one CPU thread or a GPU.

Both decode greedily, so they must give the same codes, which is checked. Without a cache the whole sequence is processed for
every frame; that is timed at evenly spaced lengths, and a full decode is their mean times the number of frames.

    python benchmarks/decode.py --width 256 --layers 4
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from voxbeam.models.ar_decoder import ARDecoder
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.schemas.formats import FRAME_RATE


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10, help="of speech after the prompt")
    parser.add_argument("--probes", type=int, default=12, help="lengths at which the cacheless model is timed")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = TransformerConfig(
        n_layers=arguments.layers, n_heads=arguments.width // 64, d_model=arguments.width, d_ff=4 * arguments.width
    )
    config = ModelConfig(n_phones=70, transformer=sizes)
    ar, nar = ARModel(config).eval().to(arguments.device), NARModel(config).eval().to(arguments.device)
    frames = round(arguments.seconds * FRAME_RATE)
    phones_BL = torch.randint(1, 70, (arguments.batch, 150), device=arguments.device)
    lengths_B = torch.randint(100, 151, (arguments.batch,), device=arguments.device)
    prompt_BP = torch.randint(0, 1024, (arguments.batch, 225), device=arguments.device)
    prompts_B = torch.randint(150, 226, (arguments.batch,), device=arguments.device)

    began = now(arguments.device)
    codes_BT = decode_cached(ar, phones_BL, lengths_B, prompt_BP, prompts_B, frames)
    cached = now(arguments.device) - began
    probes = [round(i * (frames - 1) / (arguments.probes - 1)) for i in range(arguments.probes)]
    times, agreeing = [], 0
    for done in probes:
        began = now(arguments.device)
        code_B = next_without_cache(ar, phones_BL, lengths_B, prompt_BP, prompts_B, codes_BT[:, :done])
        times.append(now(arguments.device) - began)
        agreeing += int((code_B == codes_BT[:, done]).sum())
    plain = frames * sum(times) / len(times)
    began = now(arguments.device)
    all_BTK = torch.zeros(arguments.batch, 225 + frames, 8, dtype=torch.int64, device=arguments.device)
    for book in range(1, 8):
        nar.logits(phones_BL, lengths_B, all_BTK, prompts_B + frames, torch.full_like(prompts_B, book), prompts_B)
    others = now(arguments.device) - began

    sound = arguments.batch * arguments.seconds
    print(f"same codes at {agreeing} of {arguments.batch * len(probes)} places")
    print(f"AR with cache: {cached:.2f} s, real-time factor {cached / sound:.3f}")
    print(f"AR without cache: {plain:.2f} s, real-time factor {plain / sound:.3f}")
    print(f"NAR, seven passes: {others:.2f} s, real-time factor {others / sound:.3f}")
    print(f"ratio, AR: {plain / cached:.1f}x; with NAR on both sides: {(plain + others) / (cached + others):.1f}x")


def decode_cached(ar: ARModel, phones_BL: Tensor, lengths_B: Tensor, prompt_BP: Tensor, prompts_B: Tensor, frames: int) -> Tensor:
    """Greedy codes [B, frames], without the end token, so that both sides do the same work."""
    decoder = ARDecoder(ar, phones_BL, lengths_B, prompt_BP, prompts_B, max_frames=frames)
    codes = []
    for _ in range(frames):
        codes.append(decoder.logits_BV[:, : ar.end_id].argmax(1))
        decoder.step(codes[-1])
    return torch.stack(codes, dim=1)


def next_without_cache(
    ar: ARModel, phones_BL: Tensor, lengths_B: Tensor, prompt_BP: Tensor, prompts_B: Tensor, codes_BT: Tensor
) -> Tensor:
    """The next greedy code [B], from the whole sequence: ragged prompts, directly followed by the codes."""
    rows = [torch.cat([prompt_BP[row, : prompts_B[row]], codes_BT[row]]) for row in range(len(prompt_BP))]
    input_BS = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    whole = ARDecoder(ar, phones_BL, lengths_B, input_BS, prompts_B + codes_BT.shape[1], max_frames=0)
    return whole.logits_BV[:, : ar.end_id].argmax(1)


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
