"""Useful workers: how many local workers a job can use for what no model does.

Starting worker processes takes 9 s. In that time the one inside the driver reads 7 hours of recordings, or packs 1,300 units.
"""

from collections.abc import Mapping

from voxbeam.schemas.config import CorpusConfig

_UNITS_PACKED, _UNITS_PROBED = 500, 40
"""of which one worker is done sooner than another one starts"""


def workers_to_pack(counts: Mapping[str, int], config: CorpusConfig) -> int:
    """For a release of units that are finished."""
    return 1 + _units(counts, config) // _UNITS_PACKED


def workers_to_probe(counts: Mapping[str, int], config: CorpusConfig) -> int:
    """To find that recordings are those that a release contains."""
    return 1 + _units(counts, config) // _UNITS_PROBED


def _units(counts: Mapping[str, int], config: CorpusConfig) -> int:
    """At most so many units have the recordings of a release."""
    return counts.get("recordings", 0) + int(counts.get("duration_ms", 0) / 1000 / config.decode.window_s)
