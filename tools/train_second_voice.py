"""Trains the detector of second voices (models/second_voice.py) on made conversations (tools/made_conversations.py).

    python -m tools.train_second_voice --speech FOLDER … --out second_voice.safetensors [--mixtures 560 --epochs 20]

About 25 minutes on two cores, of which half are the features of the mixtures. Every twelfth mixture is held out, and its scores
are printed; the speakers of the folders should not be those that anything is reported on.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional as F

from tools.made_conversations import Conversation, make_conversation, read_phrases
from voxbeam.models.campplus import load_campplus
from voxbeam.models.pyannote_models import load_segmentation
from voxbeam.models.second_voice import SecondVoice, sample_activity, similarities
from voxbeam.models.speech_activity import find_activity
from voxbeam.models.voice_track import BLOCK_FRAMES, VoiceTrack, track_voices
from voxbeam.transforms.audio.pauses import true_runs

CROP, BATCH, RATE = 500, 24, 2e-3
"""frames and examples of a step, and its learning rate at the highest"""

Example = tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]
"""frames [U, C], evidence [U, 6], targets [U] and which of them count [U]"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speech", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mixtures", type=int, default=560)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    pool, rng = read_phrases(args.speech), np.random.default_rng(1)
    print(f"{len(pool)} speakers")
    training: list[Example] = []
    held_out: list[Example] = []
    for number in range(args.mixtures):
        (training if number % 12 else held_out).extend(examples(make_conversation(pool, rng)))
        if number % 20 == 0:
            print(f"{number} of {args.mixtures} mixtures", flush=True)
    model = train(training, args.epochs, rng)
    for threshold, recall, false_alarms in score(model, held_out):
        print(f"threshold {threshold}: recall {recall:.3f}, false alarms {false_alarms:.4f} of the frames")
    state = {n: t.half() if t.is_floating_point() and "norm" not in n else t for n, t in sorted(model.state_dict().items())}
    save_file(state, args.out)
    print(hashlib.sha256(args.out.read_bytes()).hexdigest())


@torch.inference_mode()
def examples(conversation: Conversation) -> list[Example]:
    """One for each person whose voice can be known: is anyone else heard?"""
    track = track_voices(load_campplus(), conversation.wave_S)
    activity = find_activity(load_segmentation(), conversation.wave_S, 8)
    frames = len(track.frames_UC)
    near, loud = (mask[:, : 2 * frames : 2] for mask in (conversation.near_PT, conversation.loud_PT))
    found: list[Example] = []
    for person in range(len(near)):
        others_near, others_loud = (np.asarray(np.delete(mask, person, axis=0).any(axis=0), np.bool_) for mask in (near, loud))
        voice = voice_of(track, near[person] & ~others_near)
        if voice is None:
            continue
        similar = similarities(track.frames_UC.astype(np.float32), track.pool, np.broadcast_to(voice, (frames, len(voice))))
        evidence = np.concatenate([similar, sample_activity(activity, 0, frames)], axis=1)
        counts = np.asarray((near[person] | others_near) & ~(others_near & ~others_loud), np.bool_)
        found.append((track.frames_UC, evidence, others_loud.astype(np.float32), counts))
    return found


def voice_of(track: VoiceTrack, alone_U: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Embedding [E] of the frames, from runs of 0.6 s or more; None without any."""
    blocks = np.asarray(alone_U[: track.blocks * BLOCK_FRAMES].reshape(-1, BLOCK_FRAMES).all(axis=1), np.bool_)
    runs = true_runs(blocks)
    runs = runs[runs[:, 1] - runs[:, 0] >= 6]
    if not len(runs):
        return None
    start, end = runs.T
    mean = (track.embed(start, end) * np.minimum(30, end - start)[:, None]).sum(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def train(training: list[Example], epochs: int, rng: np.random.Generator) -> SecondVoice:
    """The detector after `epochs` times three crops of every example."""
    torch.manual_seed(0)
    model = SecondVoice().train()
    steps = epochs * len(training) * 3 // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        crops = [_crop(training[int(i)], rng) for i in rng.integers(len(training), size=BATCH)]
        frames, evidence, targets, counts = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
        losses = F.binary_cross_entropy_with_logits(model(frames.float(), evidence), targets, reduction="none")
        loss = (losses * counts).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.4f}", flush=True)
    return model.eval()


@torch.inference_mode()
def score(model: SecondVoice, held_out: list[Example]) -> list[tuple[float, float, float]]:
    """(threshold, recall, false alarms) by frames."""
    found, truth = [], []
    for frames, evidence, targets, counts in held_out:
        logits = model(torch.from_numpy(frames).float()[None], torch.from_numpy(evidence)[None])[0]
        found.append(torch.sigmoid(logits).numpy()[counts])
        truth.append(targets[counts] > 0.5)
    probability, heard = np.concatenate(found), np.concatenate(truth)
    return [(t, float((probability > t)[heard].mean()), float((probability > t)[~heard].mean())) for t in (0.1, 0.2, 0.3, 0.5)]


def _crop(example: Example, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
    first = int(rng.integers(max(1, len(example[0]) - CROP + 1)))
    return tuple(part[first : first + CROP] for part in example)


if __name__ == "__main__":
    main()
