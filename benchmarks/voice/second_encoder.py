"""Likeness by an encoder that chose nothing: GE2E, of the takes that `benchmarks.voice.evaluate --out` wrote.

    python -m benchmarks.voice.second_encoder TAKES --prompts FOLDER --weights pretrained.pt

`best_of` chooses by CAM++, so that CAM++ flatters what it chose. FOLDER is as for `evaluate`; the weights are those in the wheel
of Resemblyzer 0.1.4 (Apache-2.0), of which nothing else is used: pauses are not cut out. Intervals (95 %) by resampling of takes.

Shapes: S samples at 24 kHz, W windows of 1.6 s, E = 256 values of an embedding.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch
import torch.nn.functional as F
import torchaudio
from numpy.typing import NDArray
from torch import nn

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.threads import pin_threads
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording

RATE = 16_000
WINDOW, HOP = 160, 40
"""frames of 10 ms"""
LEVEL = 10 ** (-30 / 20)
Wave = NDArray[np.float32]


class GE2E(nn.Module):
    """Three LSTMs over 40 mel powers (Wan et al. 2018, arXiv 1710.10467), as Resemblyzer trained them."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict({name: value for name, value in state.items() if name.startswith(("lstm.", "linear."))})
        self.bank = torchaudio.functional.melscale_fbanks(201, 0, RATE / 2, 40, RATE, norm="slaney", mel_scale="slaney")

    @torch.inference_mode()
    def embed(self, wave_S: Wave) -> NDArray[np.float32]:
        """The embedding [E] of unit length: the mean over windows."""
        x_S = torch.from_numpy(soxr.resample(wave_S, 24_000, RATE))
        x_S = x_S * (LEVEL / (x_S.square().mean().sqrt() + 1e-9))
        spectrum = torch.stft(x_S, 400, 160, window=torch.hann_window(400), pad_mode="constant", return_complex=True)
        mel_NM = spectrum.abs().square().T @ self.bank
        mel_NM = F.pad(mel_NM, (0, 0, 0, max(0, WINDOW - len(mel_NM))))
        _, (hidden, _) = self.lstm(mel_NM.unfold(0, WINDOW, HOP).transpose(1, 2))
        mean_E = F.normalize(torch.relu(self.linear(hidden[-1])), dim=1).mean(0)
        return F.normalize(mean_E, dim=0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("takes", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    pin_threads()
    encoder, codec = GE2E(arguments.weights), load_codec(EMBEDDED_WEIGHTS)
    names = [path.stem for path in sorted(arguments.prompts.glob("*.wav")) if not path.stem.endswith(".other")]
    prompts = np.stack([encoder.embed(Prompt.read(arguments.prompts / f"{name}.wav").wave_S) for name in names])
    rows: dict[str, list[tuple[float, float, float, bool]]] = {"first take": [], "chosen take": []}
    for number, name in enumerate(names):
        other_S = Recording.read(arguments.prompts / f"{name}.other.wav").wave_S
        ceiling = float(encoder.embed(codec.decode(codec.encode([other_S]))[0]) @ prompts[number])
        for first in sorted(arguments.takes.glob(f"{name}-*-first.wav")):
            chosen = first.with_name(first.name.replace("-first", "-chosen"))  # not there where the first was chosen
            for kind, path in {"first take": first, "chosen take": chosen if chosen.exists() else first}.items():
                scores = prompts @ encoder.embed(sf.read(path, dtype="float32")[0])
                others = float(np.delete(scores, number).mean())
                rows[kind].append((float(scores[number]), ceiling, others, int(scores.argmax()) == number))
    for kind, found in rows.items():
        values = np.array(found, np.float64)
        drawn = values[np.random.default_rng(0).integers(0, len(values), (2000, len(values)))].mean(axis=1)
        low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
        likeness, ceiling, others, right = values.mean(axis=0)
        print(
            f"{kind}: {len(values)} takes, likeness {likeness:.3f} of {ceiling:.3f}, share {likeness / ceiling:.2f} "
            f"({low:.2f} to {high:.2f}), to the other prompts {others:.3f}, right voice {right:.0%}"
        )


if __name__ == "__main__":
    main()
