"""Batches of documents for both models, from threads that draw them while the device computes.

Shapes: as in `data.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue

import numpy as np
import torch
from torch import Tensor

from benchmarks.voice.data import FIELDS, MAX_DOCUMENT, Utterances, document_lengths, draw_documents, pack_documents
from benchmarks.voice.steps import pinned

TEXTLESS = 0.08
"""share of the documents from which the AR model learns speech without text, for guidance"""


class Feed:
    """Batches of documents from a thread; `data` may be replaced at any time."""

    def __init__(self, data: Utterances, sizes: dict[str, int], most: int) -> None:
        self.sizes, self.most, self.data = sizes, most, data
        self.queues: dict[str, Queue[Tensor]] = {name: Queue(64) for name in sizes}
        for number, name in enumerate(sizes):
            threading.Thread(target=self._fill, args=(name, number), daemon=True).start()

    def _fill(self, name: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while True:
            data = self.data
            for batch in batches_of(data, rng, self.sizes[name], self.most, name == "ar"):
                self.queues[name].put(pinned(torch.from_numpy(batch)))
                if self.data is not data:
                    break


def batches_of(data: Utterances, rng: np.random.Generator, size: int, most: int, ar: bool) -> Iterator[np.ndarray]:
    """An epoch of batches: every utterance as the target once, recorded ones twice.

    The AR model also learns without a prompt, and without text.
    """
    chosen = np.flatnonzero(~data.held_U)
    chosen = np.concatenate([chosen, chosen[~data.exact_U[chosen]]])
    rng.shuffle(chosen)
    documents = draw_documents(data, chosen, rng, 0.93 if ar else 1.0)
    lengths = document_lengths(documents)
    documents = documents[(lengths <= min(size, MAX_DOCUMENT)) & (documents[:, 7] >= 15) & (documents[:, 3] >= 1)]
    if ar:
        fields = [FIELDS.index(name) for name in ("prompt_phones", "target_phones", "guided")]
        documents[np.flatnonzero(rng.random(len(documents)) < TEXTLESS)[:, None], fields] = 0
    yield from pack_documents(documents, size, most)
