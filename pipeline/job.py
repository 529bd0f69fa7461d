"""Job: what the workers of a build need to know, small enough to travel in the job graph."""

from dataclasses import dataclass

from voxbeam.schemas.config import CorpusConfig
from voxbeam.storage.store import Store

CODE_VERSION = 6
"""part of every unit's fingerprint: raise it when a stage's code changes its results, and finished units are made again"""


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
    previous: int | None
    """number of the latest release when the build began"""
    extends_previous: bool
    """whether the new release keeps all of the previous one and adds to it"""
    recordings: int
    """of the listing"""
    allow_empty: bool
    """whether to commit a release that holds no listed recording"""
    run_id: str
    """folder of this run below `progress/`"""
    heals: bool = False
    """whether release `number` exists, and only its missing or damaged files are made again"""

    @property
    def store(self) -> Store:
        """Where the corpus is."""
        return Store(self.output)
