"""Job: everything that the workers of a build need to know, small enough to travel in the job graph."""

from dataclasses import dataclass

from voxbeam.schemas.config import CorpusConfig
from voxbeam.storage.store import Store

CODE_VERSION = 2
"""Raise it when a stage's code changes what it makes of the same input: finished units are then made again."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One build."""

    output: str
    listing: str
    """path of the listing below the output"""
    config: CorpusConfig
    fingerprint: str
    model_hashes: dict[str, str]
    number: int
    """of the release to make"""
    parent: int | None
    """the release before it"""
    grows: bool
    """whether the new release keeps all of its parent and adds to it"""
    run: str
    """name of this run's progress below the output"""

    @property
    def store(self) -> Store:
        return Store(self.output)
