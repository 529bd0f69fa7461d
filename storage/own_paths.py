"""Own paths: which files of a folder voxbeam writes. Only these are a corpus, and only these are ever deleted.

A folder `units/` or `shards/` may be anybody's.
"""

import re

_OWN = re.compile(
    r"units/[0-9a-f]{2}/[0-9a-f]{32}(?:/[0-9a-f]{16})?\.arrow"
    r"|shards/([a-z]+)/\1-\d{6,}-[0-9a-f]{16}\.tar"
    r"|manifests/parts/[a-z_]+/[^/]+-[0-9a-f]{16}\.parquet|manifests/\d{6,}-[0-9a-f]{8}/.+"
    r"|listings/(?:[0-9a-f]{16}\.parquet|policy-[0-9a-f]{16}\.json)"
    r"|progress/[0-9a-f]{1,8}/(?:errors/)?[^/]+|progress/(?:create-check|clock)-[0-9a-f]{32}"
    r"|audits/\d{6,}/[0-9a-f]{12}/(?:plan|[0-9a-f]{64}/\d{6,})\.json"
    r"|(?:releases|copies)/\d{6,}\.json|builds/\d{6,}-\w+\.json|removals/[0-9a-f]{16}\.jsonl"
    r"|gc/(?:[0-9a-f]{32}|last)\.json"
)


def is_own(path: str) -> bool:
    """Whether a path below a corpus has a name that voxbeam gives."""
    return _OWN.fullmatch(path) is not None
