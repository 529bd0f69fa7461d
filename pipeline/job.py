"""Job: what the workers of a build need to know, small enough to travel in the job graph."""

from dataclasses import dataclass

from voxbeam.pipeline.steps.policy_object import open_policy
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import stage_fingerprints
from voxbeam.schemas.policy import Policy
from voxbeam.storage.store import Store

CODE_VERSION = 15
"""part of every unit's fingerprint: raise it when a stage's code changes its results, and finished units are made again"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One build."""

    output: str
    listing: str
    """path of the listing below the output"""
    config: CorpusConfig
    """without what people decided, which may be long"""
    policy_path: str
    """path of the whole policy below the output"""
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
    repacks: bool = False
    """whether its recordings and units are those of the previous release, by another policy: nothing is listed, probed or made"""
    local: bool = True
    """whether its workers are processes on the machine that launched it, with the same models"""
    collection: str = ""
    """the last garbage collection when the build began (collection_mark.py)"""
    useful_workers: int | None = None
    """how many local workers it can use at most, where it is known that no model runs"""
    code_version: int = CODE_VERSION
    """of the stages that make its units, or made them"""

    @property
    def store(self) -> Store:
        """Where the corpus is."""
        return Store(self.output)

    @property
    def stages(self) -> dict[str, str]:
        """The fingerprint of each stage."""
        return stage_fingerprints(self.config, self.model_hashes, self.code_version)

    @property
    def policy(self) -> Policy:
        """The rules, and what people decided; read once per process."""
        return open_policy(self.output, self.policy_path)
