"""Trains the detector of second voices (models/second_voice.py) on made conversations (tools/made_conversations.py).

    python -m tools.train_second_voice --speech FOLDER … --out second_voice.safetensors --work WORK
        [--listeners FOLDER …] [--mixtures 560] [--epochs 20] [--part I N]

WORK holds the features of the mixtures that are made, 2 MB each; what is there is not made again. With --part, one of N processes
makes its part of the mixtures, and does not train. Every twelfth mixture is held out, and its scores are printed; the speakers of
the folders should not be those that anything is reported on.
"""

import argparse
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional as F

from tools.made_conversations import Conversation, Pool, make_conversation, read_listeners, read_phrases
from voxbeam.models.campplus import load_campplus
from voxbeam.models.pyannote_models import load_segmentation
from voxbeam.models.second_voice import SecondVoice, gather_evidence
from voxbeam.models.voice_track import BLOCK_FRAMES, VoiceTrack, track_voices
from voxbeam.schemas.config import DiarizeConfig
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.transforms.audio.pauses import true_runs
from voxbeam.transforms.diarize import Diarizer, Hearing, listen

CROP, BATCH, RATE = 300, 20, 3e-3
"""frames and examples of a step, and its learning rate at the highest"""
ALIKE = 12
"""speakers that count as sounding alike"""

Example = tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float16], NDArray[np.bool_], NDArray[np.bool_]]
"""frames [U, C], hidden [U, H], evidence [U, V], targets [U] and which of them count [U]"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--speech", type=Path, nargs="+", required=True)
    parser.add_argument("--listeners", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--mixtures", type=int, default=560)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--part", type=int, nargs=2)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    part, parts = args.part or (0, 1)
    paths = [args.work / f"{number:05d}.npz" for number in range(args.mixtures)]
    missing = [number for number in range(part, args.mixtures, parts) if not paths[number].exists()]
    if missing:
        pool, listeners = read_phrases(args.speech), read_listeners(args.listeners)
        alike = _alike(pool)
        print(f"{len(pool)} speakers, {len(listeners)} listeners")
        for number in missing:
            save_examples(paths[number], make_conversation(pool, np.random.default_rng([1, number]), listeners, alike))
            if number // parts % 20 == 0:
                print(f"{number} of {args.mixtures} mixtures", flush=True)
    if args.part:
        return
    training = [example for number, path in enumerate(paths) if number % 12 for example in load_examples(path)]
    held_out = [example for path in paths[::12] for example in load_examples(path)]
    model = train(training, args.epochs, np.random.default_rng(1), args.work / "checkpoint.pt")
    for threshold, recall, false_alarms in score(model, held_out):
        print(f"threshold {threshold}: recall {recall:.3f}, false alarms {false_alarms:.4f} of the frames")
    state = {n: t.half() if "_mean" not in n and "_scale" not in n else t for n, t in sorted(model.state_dict().items())}
    save_file(state, args.out)
    print(hashlib.sha256(args.out.read_bytes()).hexdigest())


@cache
def _diarizer() -> Diarizer:
    return Diarizer(load_segmentation(), None, load_campplus(), SecondVoice())


def save_examples(path: Path, conversation: Conversation) -> None:
    """Examples of a mixture: for each person with a known voice, and for the voices that `listen` finds. Is another heard?"""
    heard = listen(_diarizer(), conversation.wave_S, DiarizeConfig())
    frames = len(heard.track.frames_UC)
    near, loud = (mask[:, : 2 * frames : 2] for mask in (conversation.near_PT, conversation.loud_PT))
    found: list[tuple[NDArray[np.generic], ...]] = []
    for person in range(len(near)):
        others = np.asarray(np.delete(near, person, axis=0).any(axis=0), np.bool_)
        voice = voice_of(heard.track, near[person] & ~others)
        if voice is not None:
            speaker_U = np.zeros(frames, np.int64)
            evidence = gather_evidence(heard.track, heard.activity, speaker_U, voice[None])
            found.append((evidence, *_targets(near, loud, np.full(frames, person))))
    if len(heard.voices.embeddings_KE):
        persons = _person_of_voices(heard, near)
        evidence = gather_evidence(heard.track, heard.activity, heard.voice_U, heard.voices.embeddings_KE)
        found.append((evidence, *_targets(near, loud, persons[heard.voice_U])))
    rows: dict[str, Any] = {
        "frames": heard.track.frames_UC,
        "hidden": heard.activity.hidden_UH[:frames],
        "evidence": np.stack([e.astype(np.float16) for e, _, _ in found]) if found else np.zeros((0, 0, 0), np.float16),
        "targets": np.array([t for _, t, _ in found], np.bool_),
        "counts": np.array([c for _, _, c in found], np.bool_),
    }
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **rows)
    unfinished.replace(path)


def load_examples(path: Path) -> list[Example]:
    with np.load(path) as stored:
        rows = {name: stored[name] for name in stored.files}
    several = zip(rows["evidence"], rows["targets"], rows["counts"], strict=True)
    return [(rows["frames"], rows["hidden"], evidence, targets, counts) for evidence, targets, counts in several]


def _targets(
    near: NDArray[np.bool_], loud: NDArray[np.bool_], person_U: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where anyone but the person of each frame is heard [U], and the frames [U] for which that is clear."""
    mine = np.arange(len(near))[:, None] == person_U
    others_near, others_loud = (near & ~mine).any(axis=0), (loud & ~mine).any(axis=0)
    return others_loud, near.any(axis=0) & ~(others_near & ~others_loud)


def _person_of_voices(heard: Hearing, near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The person [K] who speaks alone most in the frames of each voice."""
    alone = near & (near.sum(axis=0) == 1)
    voices = range(len(heard.voices.embeddings_KE))
    return np.array([alone[:, heard.voice_U == voice].sum(axis=1).argmax() for voice in voices], np.int64)


@torch.inference_mode()
def _alike(pool: Pool) -> dict[str, list[str]]:
    """The speakers who sound most like each one."""
    encoder, names, rows = load_campplus(), sorted(pool), []
    for name in names:
        track = track_voices(encoder, np.concatenate(pool[name][:4])[: 8 * ASR_RATE])
        rows.append(track.embed(np.array([0]), np.array([track.blocks]))[0])
    similar = np.stack(rows) @ np.stack(rows).T
    return {name: [names[i] for i in np.argsort(-similar[n])[1 : ALIKE + 1]] for n, name in enumerate(names)}


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


def train(training: list[Example], epochs: int, rng: np.random.Generator, checkpoint: Path) -> SecondVoice:
    """The detector after `epochs` times three crops of every example. Goes on from its checkpoint, made every 200 steps."""
    torch.manual_seed(0)
    model = SecondVoice().train()
    for place, (mean, scale) in enumerate(((model.frames_mean, model.frames_scale), (model.hidden_mean, model.hidden_scale))):
        rows = torch.from_numpy(np.concatenate([example[place][::50] for example in training])).float()
        mean.copy_(rows.mean(dim=0))
        scale.copy_(1 / (rows.std(dim=0) + 1e-3))
    steps = epochs * len(training) * 3 // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    parts: tuple[Any, ...] = (model, optimizer, schedule)
    first, average = 0, 0.0
    if checkpoint.exists():
        first, states = torch.load(checkpoint)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    for step in range(first, steps):
        crops = [_crop(training[int(i)], rng) for i in rng.integers(len(training), size=BATCH)]
        *inputs, targets, counts = (torch.from_numpy(np.stack(part)).float() for part in zip(*crops, strict=True))
        losses = F.binary_cross_entropy_with_logits(model(*inputs), targets, reduction="none")
        loss = (losses * counts).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average += 0.02 * (loss.item() - average)
        if step % 200 == 199:
            print(f"step {step + 1} of {steps}: loss {average:.4f}", flush=True)
            torch.save((step + 1, [part.state_dict() for part in parts]), checkpoint)
    return model.eval()


@torch.inference_mode()
def score(model: SecondVoice, held_out: list[Example]) -> list[tuple[float, float, float]]:
    """(threshold, recall, false alarms) by frames."""
    found, truth = [], []
    for *inputs, targets, counts in held_out:
        logits = model(*(torch.from_numpy(part).float()[None] for part in inputs))[0]
        found.append(torch.sigmoid(logits).numpy()[counts])
        truth.append(targets[counts])
    probability, heard = np.concatenate(found), np.concatenate(truth)
    return [(t, float((probability > t)[heard].mean()), float((probability > t)[~heard].mean())) for t in (0.1, 0.2, 0.3, 0.5)]


def _crop(example: Example, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
    first = int(rng.integers(max(1, len(example[0]) - CROP + 1)))
    return tuple(part[first : first + CROP] for part in example)


if __name__ == "__main__":
    main()
