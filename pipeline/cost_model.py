"""Cost model: the objects and storage requests of a build, computed from the build's own rules."""

from dataclasses import dataclass

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.steps.identify import ROWS_PER_PART
from voxbeam.pipeline.steps.pack import part_count, shard_group_count
from voxbeam.schemas.config import PackConfig
from voxbeam.schemas.formats import SPLITS
from voxbeam.transforms.audio.sparse_file import sequential_requests

_PART_BYTES = 5 << 20
"""size of the parts in which the storage client uploads larger objects"""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a first build leaves in a bucket, and its requests as stores bill them."""

    units: int
    shards: int
    parts: int
    """of the manifests"""
    writes: int
    """PUT, COPY and parts of larger objects"""
    reads: int
    """GET and HEAD, including those of the input, without listing and progress"""

    @property
    def objects(self) -> int:
        """Objects that remain: units, shards, manifests, phones, lists of shards, descriptions, and single ones: listing, policy,
        release, its copy, record."""
        return self.units + self.shards + self.parts + len(SPLITS) + len(DESCRIPTIONS) + 6


def footprint(recordings: int, units: int, input_bytes: int, shard_bytes: int, config: PackConfig) -> Footprint:
    """For a corpus with one split whose units are all accepted, with one voice a recording; each small split adds a shard."""
    ranges = sequential_requests(input_bytes // units) if units else 0
    shards = shard_group_count(shard_bytes, config)
    identities = max(1, -(-recordings // ROWS_PER_PART))
    parts = shards + 3 * part_count(units) + identities + 1  # samples; recordings, rejected and voices; identities; shards
    rest = len(SPLITS) + len(DESCRIPTIONS)
    heads = shards + 2 * parts + rest + 3  # phones, listing, policy
    described = shards + 2 * part_count(units)  # samples; rejected and recordings
    uploads = max(1, -(-shard_bytes // shards // _PART_BYTES))
    return Footprint(
        units=units,
        shards=shards,
        parts=parts,
        # a unit once; a shard in parts, with a beginning and an end; a part of a manifest put, then copied to its place; lists of
        # shards; descriptions; listing, policy, phones, release, its copy, build record, and two to see that the store creates
        # conditionally
        writes=units + shards * (uploads + 2 if uploads > 1 else 1) + 2 * parts + rest + 8,
        # a recording for its hash; a unit to see whether it is there, its file for shards and for reports, what its recording is
        # now, and its part of that by ranges; voices, and the identities made of them (by further workers: not counted); a HEAD
        # before each put of a shard, of a part (and of its copy), and of the rest; the policy; and for the descriptions what the
        # release has of samples, rejected and recordings
        reads=recordings + (3 + 1 + ranges) * units + part_count(units) + identities + heads + 1 + described,
    )
