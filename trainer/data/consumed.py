"""Consumed: at which steps a run read samples of recordings that were taken down.

The batches of a run are a function of its release and settings (`sampler.py`), so they are planned again, up to the last
checkpoint. That the plan is right is checked: it must end at the loader state that the checkpoint has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.checkpoint import SUFFIX, checkpoint_store, read, read_file, saved_steps
from voxbeam.models.lineage import Ancestor, lineage_of
from voxbeam.models.load_valle import MODELS, run_parts
from voxbeam.safety.tombstones import Tombstones, read_tombstones
from voxbeam.schemas.errors import CheckpointError, StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.schemas.sample_keys import recording_of
from voxbeam.storage.releases import load_release, read_release, release_numbers, table_batches
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import Index, index_release, released_hash
from voxbeam.trainer.data.sampler import LoaderPosition, SamplerConfig
from voxbeam.trainer.data.stream import make_sampler


@dataclass(frozen=True)
class ReadStep:
    """A step that read samples of the recordings."""

    step: int
    """its number: a checkpoint of this step or a later one learned from them"""
    samples: list[str]
    """keys"""
    prompts: list[str]
    """keys of samples that acoustic prompts were taken from"""


@dataclass(frozen=True)
class Consumed:
    """What a run, or a model of an exported file, learned from the recordings."""

    where: str
    saved: list[int]
    """steps of its checkpoints"""
    total_steps: int
    """of the last of them"""
    steps: list[ReadStep]
    init_from: str | None
    """what its weights began with, where nothing else is known of that"""
    inherited: bool = False
    """whether it is no run of these checkpoints, but one that their weights began with"""
    elsewhere: bool = False
    """whether it learned from another corpus or release, which must be asked"""

    @property
    def samples(self) -> int:
        """Different samples that were read."""
        return len({key for step in self.steps for key in (*step.samples, *step.prompts)})


def find_consumed(run_uri: str, corpus: Store) -> list[Consumed]:
    """What the models of a run learned from recordings that a corpus has taken down.

    Raises CheckpointError for a run without checkpoints or of plain tars, StorageError for a corpus or release that is not that
    of the run.
    """
    tombstones = read_tombstones(corpus)
    planned: dict[str, list[ReadStep]] = {}
    found = []
    for where, saved, runs in _runs(run_uri):
        for number, run in enumerate(runs):
            release = release_of(corpus, run.data) if number else require_release_of(corpus, run)
            facts = f"{run.data} {run.step}"
            if release is not None and facts not in planned:
                planned[facts] = list(read_steps(corpus, release, [tombstones], run))
            name = f"{where}, of which the weights began with {run.where}" if number else where
            found.append(
                Consumed(
                    name, [run.step] if number else saved, run.step, planned.get(facts, []), run.before,
                    inherited=number > 0, elsewhere=release is None,
                )
            )  # fmt: skip
    return found


def _runs(run_uri: str) -> Iterator[tuple[str, list[int], tuple[Ancestor, ...]]]:
    """Name, saved steps and lineage of each run that a model's weights are from, by its last checkpoint."""
    folder = run_uri.rstrip("/")
    if folder.endswith(SUFFIX):
        checkpoint = read_file(folder)
        for name in MODELS:
            yield f"{folder} ({name})", [int(checkpoint.facts["step"])], lineage_of(name, checkpoint, folder)
        return
    parts: dict[str, list[str]] = {}
    for name, part in run_parts(folder).items():
        parts.setdefault(part, []).append(name)
    for part, names in parts.items():
        if part == folder or saved_steps(checkpoint_store(part)):
            checkpoint = read(checkpoint_store(part))
            runs = [run for name in names for run in lineage_of(name, checkpoint, part)]
            runs = [run for number, run in enumerate(runs) if run not in runs[:number]]
            yield part, saved_steps(checkpoint_store(part)), tuple(runs)


def release_of(corpus: Store, data: Mapping[str, Any]) -> Release | None:
    """The release of a corpus that a run learned from, by what its checkpoint says; None if the corpus has it not."""
    number = data.get("release")
    if not isinstance(number, int) or number not in release_numbers(corpus):
        return None
    release = read_release(corpus, number)
    same = released_hash(release, data["split"], data.get("filter", ""), data.get("codec")) == data["samples"]
    return release if same else None


def require_release_of(corpus: Store, run: Ancestor) -> Release:
    """The same. Raises CheckpointError for a run that names no release, StorageError for a corpus that has it not."""
    if not isinstance(run.data.get("release"), int):
        raise CheckpointError(
            f"{run.where} does not say which release it learned from", remedy="only runs of `voxbeam train` on a release do"
        )
    if (release := release_of(corpus, run.data)) is None:
        raise StorageError(
            f"release {load_release(corpus, run.data['release']).name} of {corpus.root} is not what {run.where} learned from",
            remedy="name the corpus that it was trained on, or a copy of it",
        )
    return release


def read_steps(corpus: Store, release: Release, feeds: Sequence[Tombstones], run: Ancestor) -> Iterator[ReadStep]:
    """The steps of a run on a release that read what feeds of tombstones name. Raises CheckpointError for another history."""
    data, total, loader_state, where = run.data, run.step, run.loader_state, run.where
    index = index_release(corpus, release, data["split"], data.get("filter", ""), data.get("codec"))
    names = SamplerConfig.__dataclass_fields__.keys()
    config = SamplerConfig(**{name: value for name, value in data.items() if name in names})
    low, high = data["crop_s"]
    sampler = make_sampler(index, config, (low, high))
    gone_N = _gone(index, corpus, release, feeds)
    last = LoaderPosition(0, 0, 0)
    for step, (position, batch) in enumerate(islice(sampler.iter_from(last), total), start=1):
        last = LoaderPosition(position.epoch, position.window, position.batch + 1)
        samples, prompts = batch.samples[gone_N[batch.samples]], batch.prompts[batch.prompts >= 0]
        prompts = prompts[gone_N[prompts]]
        if len(samples) or len(prompts):
            yield ReadStep(step, _keys(index, samples), _keys(index, prompts))
    if loader_state is not None and int(last) != loader_state:
        raise CheckpointError(
            f"{where} is at loader state {loader_state} after {total} steps, and its settings lead to {int(last)}",
            remedy="ask with the voxbeam that trained it",
        )


def _gone(index: Index, corpus: Store, release: Release, feeds: Sequence[Tombstones]) -> NDArray[np.bool_]:
    """Which samples of an index are of recordings that were taken down."""
    files = {
        row["recording"]: row["sha256"]
        for batch in table_batches(corpus, release, RecordingRow, ["recording", "sha256"])
        for row in batch.to_pylist()
    }

    @cache
    def is_gone(recording: str | None) -> bool:
        return recording is not None and any(feed.naming(recording, files.get(recording)) for feed in feeds)

    return np.fromiter((is_gone(recording_of(index.key(n))) for n in range(len(index))), bool, len(index))


def _keys(index: Index, samples: NDArray[np.int64]) -> list[str]:
    return sorted({index.key(int(sample)) for sample in samples})
