"""The speech that a run learns from: recorded speech from the beginning, and rounds of made speech as `speak.py` writes them.

Shapes: as in `data.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.voice.data import (
    FIELDS,
    MAX_DOCUMENT,
    Piece,
    Utterances,
    document_lengths,
    draw_documents,
    join,
    pack_documents,
    read_recorded,
    read_round,
)
from benchmarks.voice.packed import Corpus


class Growing:
    """A corpus on the device at fixed addresses, to which utterances are added."""

    def __init__(self, device: str, hours: float) -> None:
        frames = int(hours * 3600 * 75)
        self.corpus = Corpus(
            torch.zeros(frames // 3, dtype=torch.int16, device=device),
            torch.zeros(frames, dtype=torch.int16, device=device),
            torch.zeros(8, frames, dtype=torch.int16, device=device),
        )
        self.pieces: list[Piece] = []
        self.phones = self.frames = 0

    def add(self, piece: Piece) -> bool:
        """False if it does not fit."""
        phones, frames = self.phones + len(piece["phones_P"]), self.frames + len(piece["owner_F"])
        if phones > len(self.corpus.phones_P) or frames > len(self.corpus.owner_F):
            return False
        self.corpus.phones_P[self.phones : phones].copy_(torch.from_numpy(piece["phones_P"].astype(np.int16)))
        self.corpus.owner_F[self.frames : frames].copy_(torch.from_numpy(piece["owner_F"].astype(np.int16)))
        self.corpus.codes_KF[:, self.frames : frames].copy_(torch.from_numpy(piece["codes_KF"].astype(np.int16)))
        if torch.cuda.is_available():
            torch.cuda.current_stream().synchronize()
        self.phones, self.frames = phones, frames
        self.pieces.append(piece)
        return True


class Speech:
    """What there is to learn from so far. `pack` has the recorded speech and the sentences, `rounds` gets the made speech."""

    def __init__(self, pack: Path, rounds: Path, growing: Growing, log: Callable[[str], None]) -> None:
        self.growing, self.log, self.rounds = growing, log, rounds
        self.sentences = dict(np.load(pack / "sentences.npz"))
        self.files: set[Path] = set()
        for number, file in enumerate(sorted(pack.glob("real-*.npz"))):
            growing.add(read_recorded(file, 10_000 + 10_000 * number))
        self.recorded = len(growing.pieces)

    def take_up(self) -> int:
        """Adds the rounds that are new; returns how many."""
        new = [file for file in sorted(self.rounds.glob("round-*.npz")) if file not in self.files]
        for file in new:
            self.files.add(file)
            if not self.growing.add(read_round(file, self.sentences, 40 if len(self.files) <= 2 else 0)):
                self.log(f"no room for {file.name}")
        return len(new)

    def joined(self) -> Utterances:
        return join(self.growing.pieces)

    def held_batches(self, data: Utterances, size: int, most: int, rng: np.random.Generator) -> dict[str, list[Tensor]]:
        """Up to three batches [D, F] on the device of utterances for validation, of recorded and of made speech."""
        edges = np.cumsum([0, *(len(piece["frames_U"]) for piece in self.growing.pieces)])
        held = np.flatnonzero(data.held_U)
        found: dict[str, list[Tensor]] = {}
        for kind, first, end in (("recorded", 0, self.recorded), ("made", self.recorded, len(self.growing.pieces))):
            chosen = held[(held >= edges[first]) & (held < edges[end])]
            documents = draw_documents(data, chosen, rng, 1.0) if len(chosen) else np.zeros((0, len(FIELDS)), np.int64)
            documents = documents[document_lengths(documents) <= min(size, MAX_DOCUMENT)]
            batches = pack_documents(documents, size, most)[:3]
            if batches:
                found[kind] = [torch.from_numpy(batch).to(self.growing.corpus.codes_KF.device) for batch in batches]
        return found
