"""Makes speech of prepared sentences by Kokoro on a GPU, as codes of the embedded codec with the time of every phone.

    python -m benchmarks.voice.speak PACK OUT [--seconds 110] [--round 4000] [--part 0/2]

PACK has sentences.npz (`prepare.py`) and kokoro-*.npz.xz (its weights). OUT gets round-N.npz as soon as a round of sentences is
made, unless it is there. A round has sentences of all lengths, and identities that no other round has, beside the named voices.
Several processes can share the rounds.

Shapes: B sentences, S samples at 24 kHz, T codec frames (75 a second), K codebooks, I identities.
"""

from __future__ import annotations

import argparse
import io
import lzma
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray
from torch import Tensor

from voxbeam.assets import WEIGHTS
from voxbeam.models.codec_model import CodecConfig, CodecModel, build_codec, fold_weight_norm
from voxbeam.storage.safetensors_io import unpack

from benchmarks.voice.channels import Channels
from benchmarks.voice.data import STYLE_STEP
from benchmarks.voice.kokoro import FRAME, RATE, Kokoro, dequantize, expand

HOP = 320
SPACE, PAUSES = 16, (1, 2, 3)
"""Kokoro tokens: the blank between words, and the marks at which a speaker pauses"""
PER_IDENTITY = 12
"""utterances of an identity that is not a named voice"""
NAMED_SHARE = 0.08
"""of the utterances, by the named voices as they are"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=110, help="no new batch after this time")
    parser.add_argument("--round", type=int, default=4000)
    parser.add_argument("--part", default="0/1", help="which of how many processes this is")
    parser.add_argument("--frames", type=int, default=20_000, help="frames of 25 ms of a batch")
    parser.add_argument("--rounds", type=int, default=10**9)
    parser.add_argument("--full", action="store_true", help="the vocoder in single precision")
    parser.add_argument("--safe", action="store_true", help="without the compiler, in small batches")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch._dynamo.config.suppress_errors = True  # what does not compile runs as it is
    maker = Maker(
        arguments.pack,
        time.monotonic() + arguments.seconds,
        3_000 if arguments.safe else arguments.frames,
        not (arguments.full or arguments.safe),
        not arguments.safe,
    )
    made = 0.0
    for number in range(part, arguments.rounds, parts):
        if (arguments.out / f"round-{number:03d}.npz").exists():
            continue
        arrays = maker.make(*maker.draw(number, arguments.round, number < parts))
        if arrays is not None:
            temporary = arguments.out / f"part-{number}.tmp.npz"
            np.savez(temporary, **arrays)
            temporary.rename(arguments.out / f"round-{number:03d}.npz")
            made += arrays["frames"].sum() / 75 / 3600
            print(f"speak {part}: round {number}, {made:.2f} hours, {time.monotonic() - maker.began:.1f} s", flush=True)
        if time.monotonic() > maker.deadline:
            break


def load_pack(folder: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of the weights' files."""

    def read(path: Path) -> dict[str, NDArray[np.generic]]:
        return dict(np.load(io.BytesIO(lzma.decompress(path.read_bytes()))))

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(read, sorted(folder.glob("kokoro-*.npz.xz"))))
    return {name: array for part in parts for name, array in part.items()}


def load_embedded_codec(device: str) -> CodecModel:
    """The embedded codec, without the modules that need packages of the store."""
    tensors, facts = unpack((WEIGHTS / "codec_24khz.safetensors").read_bytes(), "codec")
    fields = facts["config"]
    model = build_codec(CodecConfig(**fields | {"ratios": tuple(fields["ratios"])}))
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    fold_weight_norm(model)
    return model.eval().to(device)


class Maker:
    """Models and sentences on one device."""

    def __init__(self, pack: Path, deadline: float, frames: int, half: bool, compiled: bool) -> None:
        self.began, self.deadline, self.batch_frames = time.monotonic(), deadline, frames
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.data = dict(np.load(pack / "sentences.npz"))
        self.token_counts = self.data["token_counts"].astype(np.int64)
        self.phone_counts = self.data["phone_counts"].astype(np.int64)
        self.token_at, self.phone_at = (np.cumsum(x) - x for x in (self.token_counts, self.phone_counts))
        cuda = self.device == "cuda"
        self.network = Kokoro(dequantize(load_pack(pack)), self.device, compiled=cuda and compiled, half=half)
        self.codec = load_embedded_codec(self.device)
        self.styles = torch.from_numpy(self.data["styles"].astype(np.float32)).to(self.device)
        self.channels = Channels(self.device)
        self.generator = np.random.default_rng(1)
        print(f"speak: loaded after {time.monotonic() - self.began:.1f} s", flush=True)

    def draw(self, number: int, size: int, first: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sentences of a round, and their identities. The first rounds are short, so that training can begin."""
        count, identities = len(self.token_counts), len(self.data["identity_pitch"])
        order = np.random.default_rng(number * size // count).permutation(count)
        chosen = order[number * size % count :][: size // 3 if first else size]
        rng = np.random.default_rng(1_000 + number)
        named = int((self.data["identity_timbre_weights"][:, 0] == 1).sum())
        block = size // PER_IDENTITY
        identity = named + (number * block + rng.integers(0, block // 3 if first else block, len(chosen))) % (identities - named)
        identity = np.where(rng.random(len(chosen)) < NAMED_SHARE, rng.integers(0, named, len(chosen)), identity)
        return chosen, identity

    def style(self, identity_B: NDArray[np.int64], length: int) -> Tensor:
        row = max(0, min((length - 3) // STYLE_STEP, self.styles.shape[1] - 1))
        halves = []
        for half, kind in enumerate(("timbre", "manner")):
            weights = torch.from_numpy(self.data[f"identity_{kind}_weights"][identity_B]).to(self.device)
            voices = torch.from_numpy(self.data[f"identity_{kind}"][identity_B].astype(np.int64)).to(self.device)
            halves.append((self.styles[voices, row, 128 * half : 128 * half + 128] * weights[..., None]).sum(1))
        return torch.cat(halves, 1)

    def make(self, chosen: NDArray[np.int64], identity: NDArray[np.int64]) -> dict[str, NDArray[np.generic]] | None:
        """Codes, frames and phone times of sentences; None if the time is over."""
        self.identity = dict(zip(chosen.tolist(), identity.tolist(), strict=True))
        plans = self._plan(chosen)
        order = sorted(plans, key=lambda index: int(plans[index][0].sum()))
        batches: list[list[int]] = []
        for index in order:
            frames = int(plans[index][0].sum())
            if not batches or frames * (len(batches[-1]) + 1) > self.batch_frames or len(batches[-1]) == 96:
                batches.append([])
            batches[-1].append(index)
        self.generator.shuffle(batches)  # type: ignore[arg-type]  # if the time ends, what was made has all lengths
        rows: list[tuple[int, NDArray[np.int16], NDArray[np.float32]]] = []
        for batch in batches:
            if time.monotonic() > self.deadline:
                break
            rows += self._try(batch, plans)
        if not rows:
            return None
        return {
            "sentence": np.array([row[0] for row in rows]),
            "identity": np.array([self.identity[row[0]] for row in rows]),
            "frames": np.array([row[1].shape[1] for row in rows]),
            "codes": np.concatenate([row[1] for row in rows], 1),
            "phone_times": np.concatenate([row[2] for row in rows]),
        }

    def _plan(self, chosen: NDArray[np.int64]) -> dict[int, tuple[NDArray[np.int64], Tensor, Tensor, Tensor]]:
        plans: dict[int, tuple[NDArray[np.int64], Tensor, Tensor, Tensor]] = {}
        lengths = self.token_counts[chosen]
        for length in np.unique(lengths):
            group = chosen[lengths == length]
            for part in np.array_split(group, math.ceil(len(group) / 64)):
                identity = self._identities(part)
                tokens = np.stack([self.data["tokens"][self.token_at[i] : self.token_at[i] + length] for i in part])
                style = self.style(identity, int(length))
                speed = self.data["identity_speed"][identity] / self.data["identity_pitch"][identity]
                planned = self.network.plan(
                    torch.from_numpy(tokens.astype(np.int64)).to(self.device), style, torch.from_numpy(speed).to(self.device)
                )
                durations = self._rhythm(planned.durations_BL.cpu().numpy(), tokens)
                prosody, text = planned.prosody_BLC.to(torch.bfloat16), planned.text_BLC.to(torch.bfloat16)
                plans |= {int(i): (durations[row], prosody[row], text[row], style[row]) for row, i in enumerate(part)}
            if time.monotonic() > self.deadline:
                break
        return plans

    def _identities(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self.identity[int(i)] for i in sentences])

    def _rhythm(self, durations_BL: NDArray[np.int64], tokens_BL: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Durations with some irregularity; some speakers pause between words, or longer or shorter at marks."""
        rng, shape = self.generator, durations_BL.shape
        changed = durations_BL * np.exp(rng.normal(0, 0.13, shape))
        mark = np.isin(tokens_BL, PAUSES)
        changed *= np.where(mark & (rng.random((shape[0], 1)) < 0.4), rng.uniform(0.4, 2.2, shape), 1)
        pausing = (tokens_BL == SPACE) & (rng.random((shape[0], 1)) < 0.25) & (rng.random(shape) < 0.08)
        changed += pausing * rng.uniform(4, 26, shape)
        return np.maximum(1, np.floor(changed + rng.random(shape))).astype(np.int64)

    def _try(
        self, batch: list[int], plans: dict[int, tuple[NDArray[np.int64], Tensor, Tensor, Tensor]]
    ) -> list[tuple[int, NDArray[np.int16], NDArray[np.float32]]]:
        """`_speak`, in two halves if the memory does not suffice."""
        try:
            return self._speak(batch, plans)
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                return []
        torch.cuda.empty_cache()
        print(f"speak: {len(batch)} sentences do not fit", flush=True)
        self.batch_frames = self.batch_frames * 3 // 4
        half = len(batch) // 2
        return self._try(batch[:half], plans) + self._try(batch[half:], plans)

    def _speak(
        self, batch: list[int], plans: dict[int, tuple[NDArray[np.int64], Tensor, Tensor, Tensor]]
    ) -> list[tuple[int, NDArray[np.int16], NDArray[np.float32]]]:
        frames = max(int(plans[i][0].sum()) for i in batch)
        prosody, text = expand([(plans[i][1], plans[i][2]) for i in batch], [plans[i][0] for i in batch], frames)
        identity = self._identities(np.array(batch))
        melody = [torch.from_numpy(self.data[f"identity_{kind}"][identity]).to(self.device) for kind in ("melody", "liveliness")]
        style = torch.stack([plans[i][3] for i in batch])
        wave_BS = self.network.speak(prosody.float(), text.float(), style, (melody[0], melody[1])).nan_to_num(0.0)
        rng = self.generator
        starts, ends, times = [], [], []
        for i in batch:
            at_L = (np.cumsum(plans[i][0]) - plans[i][0]) * FRAME
            owner_L = np.cumsum(self.data["steps"][self.token_at[i] : self.token_at[i] + self.token_counts[i]])
            phone_times = at_L[np.searchsorted(owner_L[1:], np.arange(self.phone_counts[i] + 1)).clip(max=len(at_L) - 2) + 1]
            starts.append(max(0, int(at_L[1] - rng.uniform(0.02, 0.15) * RATE)))
            ends.append(min(frames * FRAME, int(phone_times[-1] + rng.uniform(0.12, 0.3) * RATE)))
            times.append(phone_times)
        pitch = self.data["identity_pitch"][identity]
        lengths = [int((end - start) / ratio) for start, end, ratio in zip(starts, ends, pitch, strict=True)]
        with torch.inference_mode():
            wave_BS = self._finish(wave_BS, np.array(starts), np.array(lengths), identity)
            codes_KBT = self.codec.quantizer.encode(self.codec.encoder(wave_BS[:, None])).to(torch.int16).cpu().numpy()
        found = []
        for row, i in enumerate(batch):
            count = math.ceil(lengths[row] / HOP)
            phone_times = ((times[row] - starts[row]) / pitch[row] / HOP).clip(0, count)
            found.append((i, codes_KBT[:, row, :count], phone_times.astype(np.float32)))
        return found

    def _finish(
        self, wave_BS: Tensor, starts: NDArray[np.int64], lengths: NDArray[np.int64], identity: NDArray[np.int64]
    ) -> Tensor:
        """Cuts, shifts the pitch of, places in a room, and levels sentences; zeros after each."""
        size = math.ceil(int(lengths.max()) / HOP) * HOP
        device = self.device
        ratio = torch.from_numpy(self.data["identity_pitch"][identity]).to(device)[:, None]
        # twice the rate first, so that linear interpolation loses nothing that is heard
        fine = torch.fft.irfft(torch.fft.rfft(wave_BS), 2 * wave_BS.shape[1]) * 2
        position = 2 * (torch.from_numpy(starts).to(device)[:, None] + ratio * torch.arange(size, device=device))
        low = position.long().clamp(max=fine.shape[1] - 2)
        part = (position - low).clamp(0, 1)
        wave = fine.gather(1, low) * (1 - part) + fine.gather(1, low + 1) * part
        mask = torch.arange(size, device=device) < torch.from_numpy(lengths).to(device)[:, None]
        wave = wave * mask
        wave = self.channels.place(wave, torch.from_numpy(lengths).to(device), self.data["identity_channel"][identity])
        return wave.clamp(-1, 1) * mask


if __name__ == "__main__":
    main()
