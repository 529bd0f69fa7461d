"""Policy object: the whole policy of a release as an object below the output, for the workers: it may be long."""

import hashlib

from voxbeam.schemas.policy import Policy
from voxbeam.storage.store import Store
from voxbeam.transforms.base import once_per_process


def put_policy(store: Store, policy: Policy) -> str:
    """Writes a policy below the output; returns its path."""
    content = policy.model_dump_json().encode()
    path = f"listings/policy-{hashlib.sha256(content).hexdigest()[:16]}.json"
    store.put_named_by_content(path, content)
    return path


@once_per_process
def open_policy(output: str, path: str) -> Policy:
    """The policy at a path below an output."""
    return Policy.model_validate_json(Store(output).get(path))
