"""Stream: the batches of a corpus, from a folder or a bucket, in an order that no number of ranks or threads changes.

Threads, not worker processes, read ahead: what they do is waiting for storage and copying bytes, for both of which Python
lets go of its lock, and a batch then needs no copy between processes. What comes next is a pure function of the manifest, the
settings and one integer (`trainer.epoch`), so a run can be continued anywhere, by any number of ranks and threads.

Codes are read by byte range: a folder is mapped into memory, a bucket is asked for ranges, of which near neighbours are joined.
Storage repeats failed requests; what arrives is checked to be codes of the length that the manifest tells.

Shapes: K codebooks, T frames, L phones, W words.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import obstore
from numpy.typing import NDArray

from assets.storage import StorageError, is_bucket
from schemas.manifest import FRAME_RATE
from trainer.batch import Batch, Utterance, collate
from trainer.epoch import Epochs, EpochSettings, Place, share
from trainer.index import Index, open_index, separator_of

N_BOOKS, N_CODES = 8, 1024
T_ = TypeVar("T_")
R_ = TypeVar("R_")


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """How a corpus is dealt out."""

    epochs: EpochSettings = field(default_factory=EpochSettings)
    rank_frames: int = 12_000
    """frames of a micro-batch at most, padding included: what one device can hold"""
    crop_s: tuple[float, float] = (10.0, 20.0)
    """a longer sample is cut at words to a length drawn from this range, where its words have times; else it stays whole"""
    threads: int = 2
    ahead: int = 4
    """steps that are read ahead"""


Step = tuple[list[Batch], int]
"""What one rank does in one step: micro-batches, of which every rank has as many; and the state to go on from."""


class Stream:
    """The steps of one rank of `world`. Raises StorageError where there is no corpus, ValueError for an empty split."""

    def __init__(
        self, uri: str, *, split: str = "train", settings: StreamSettings | None = None, rank: int = 0, world: int = 1
    ) -> None:
        self.settings = settings or StreamSettings()
        self.index = open_index(uri, split)
        self.rank, self.world = rank, world
        self.separator = separator_of(self.index.phones)
        shortest, longest = (round(edge * FRAME_RATE) for edge in self.settings.crop_s)
        croppable_N = np.diff(self.index.arrays["word_frames_start"]) > 0
        self.epochs = Epochs(self.index.arrays["frames"], self.settings.epochs, croppable_N, (shortest, longest))

    def steps(self, state: int = 0) -> Iterator[Step]:
        """Steps from a state on, epoch after epoch, without end."""
        return self._run(self.epochs.walk(Place.of(state)))

    def epoch_steps(self, epoch: int = 0) -> Iterator[Step]:
        """The steps of one epoch."""
        count = sum(len(self.epochs.batches(epoch, window)) for window in range(self.epochs.windows))
        return self._run(islice(self.epochs.walk(Place(epoch, 0, 0)), count))

    def _run(self, places: Iterator[tuple[Place, NDArray[np.int64]]]) -> Iterator[Step]:
        return ahead(self._step, places, self.settings.threads, self.settings.ahead)

    def _step(self, item: tuple[Place, NDArray[np.int64]]) -> Step:
        place, samples = item
        parts = share(samples, self.epochs.lengths(place.epoch, samples), self.rank, self.world, self.settings.rank_frames)
        own = [part if len(part) else samples[-1:] for part in parts]
        utterances = iter(self.read(np.concatenate(own), place.epoch))
        batches = [collate(list(islice(utterances, len(part)))) for part in own]
        in_step = [replace(batch, counted=len(part) > 0) for batch, part in zip(batches, parts, strict=True)]
        return in_step, int(Place(place.epoch, place.window, place.batch + 1))

    def read(self, samples: NDArray[np.int64], epoch: int | None = None) -> list[Utterance]:
        """Utterances, cropped as in an epoch; whole without one. Raises StorageError for bytes that are not codes."""
        lengths = self.index.arrays["frames"][samples] if epoch is None else self.epochs.lengths(epoch, samples)
        found = zip(samples.tolist(), read_codes(self.index, samples), lengths.tolist(), strict=True)
        return [self._utterance(sample, codes_KT, length, epoch) for sample, codes_KT, length in found]

    def _utterance(self, sample: int, codes_KT: NDArray[np.int16], length: int, epoch: int | None) -> Utterance:
        phones_L = self.index.flat("phones", sample).astype(np.int64)
        if length < codes_KT.shape[1]:
            words_W2 = self.index.flat("word_frames", sample).reshape(-1, 2)
            rng = np.random.default_rng((self.settings.epochs.seed, epoch or 0, sample))
            phones_L, codes_KT = crop(phones_L, codes_KT, words_W2, self.separator, length, rng)
        return Utterance(
            key=self.index.key(sample),
            speaker=self.index.speakers[self.index.arrays["speaker"][sample]],
            text=self.index.text(sample),
            phones_L=phones_L,
            codes_KT=codes_KT,
        )


def crop(
    phones_L: NDArray[np.int64],
    codes_KT: NDArray[np.int16],
    words_W2: NDArray[np.int32],
    separator: int,
    length: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Words in a row, of at most `length` frames together, with the phones and the frames that belong to them.

    The words must be as many as the groups of phones. Whole, when it is no longer than that.
    """
    if codes_KT.shape[1] <= length:
        return phones_L, codes_KT
    groups = [group[group != separator] for group in np.split(phones_L, np.flatnonzero(phones_L == separator))]
    begins = np.flatnonzero(words_W2[:, 0] <= max(int(words_W2[0, 0]), int(words_W2[-1, 1]) - length))
    first = int(rng.choice(begins))
    start = int(words_W2[first, 0])
    last = max(first, int(np.searchsorted(words_W2[:, 1], start + length, side="right")) - 1)
    joined: list[NDArray[np.int64]] = []
    for group in groups[first : last + 1]:
        joined += [np.array([separator]), group] if joined else [group]
    return np.concatenate(joined), codes_KT[:, start : int(words_W2[last, 1])]


def read_codes(index: Index, samples: NDArray[np.int64]) -> list[NDArray[np.int16]]:
    """Codes [K, T] of samples, in their order. Raises StorageError, naming the sample, for bytes that are something else."""
    shard, offset, size = (index.arrays[name][samples] for name in ("shard", "offset", "bytes"))
    contents: list[Any] = [b""] * len(samples)
    for number in np.unique(shard):
        rows = np.flatnonzero(shard == number)
        starts, lengths = offset[rows].tolist(), size[rows].tolist()
        for row, content in zip(rows, _ranges(index, index.shards[number], starts, lengths), strict=True):
            contents[row] = content
    return [_codes(index, sample, content) for sample, content in zip(samples.tolist(), contents, strict=True)]


def _ranges(index: Index, shard: str, starts: list[int], lengths: list[int]) -> Sequence[Any]:
    if is_bucket(index.store.root):
        return obstore.get_ranges(index.store.object_store, shard, starts=starts, lengths=lengths)
    content = _mapped(str(Path(index.store.root, shard)))
    return [content[start : start + length] for start, length in zip(starts, lengths, strict=True)]


@functools.lru_cache(maxsize=256)
def _mapped(path: str) -> NDArray[np.uint8]:
    return np.asarray(np.memmap(path, np.uint8, "r"))  # a plain view of it is cut several times faster


def _codes(index: Index, sample: int, content: Any) -> NDArray[np.int16]:
    """Bytes of an npy file as codes. Its header is not parsed: what it must say is known, and the parser is slow."""
    frames = int(index.arrays["frames"][sample])
    raw = memoryview(content)
    header = bytes(raw[: max(0, len(raw) - 2 * N_BOOKS * frames)])
    expected = f"'descr': '<i2', 'fortran_order': False, 'shape': ({N_BOOKS}, {frames})"
    if header[:6] == b"\x93NUMPY" and expected.encode() in header:
        codes_KT = np.frombuffer(raw, np.int16, N_BOOKS * frames, len(header)).reshape(N_BOOKS, frames)
        if not frames or (codes_KT.min() >= 0 and codes_KT.max() < N_CODES):
            return codes_KT
    where = f"{index.shards[index.arrays['shard'][sample]]} at byte {index.arrays['offset'][sample]}"
    raise StorageError(
        f"{where} does not hold the {frames} frames of {index.key(sample)}: the shard was damaged or replaced; "
        "`voxbeam verify` finds what else is wrong, and a copy of the shard mends it"
    )


def ahead(function: Callable[[T_], R_], items: Iterable[T_], threads: int, depth: int) -> Iterator[R_]:
    """`function` of every item, in order, computed by threads up to `depth` items ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="stream") as pool:
        waiting: deque[Future[R_]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
