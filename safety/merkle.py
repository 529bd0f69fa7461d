"""A Merkle tree over the recordings of a release: one hash for all of them, and short proofs that one is in it or is not.

Leaves are in order of the recording's name, so that a name is absent if two neighbors in the tree leave no place for it. A leaf
hashes `0x00`, an inner node `0x01`, then its content; a node without a partner goes up as it is (RFC 6962).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxbeam.safety.envelope import canonical_json
from voxbeam.schemas.errors import LedgerError

EMPTY_ROOT = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, order=True)
class Leaf:
    """One recording of a release."""

    recording: str
    sha256: str
    """of its file; "" where the release does not know it"""

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(b"\x00" + canonical_json({"recording": self.recording, "sha256": self.sha256})).digest()


class Tree:
    """The tree of some leaves, which have different names."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self.leaves = sorted(leaves)
        self._names = [leaf.recording for leaf in self.leaves]
        if len(set(self._names)) < len(self._names):
            raise LedgerError("a recording is in a release twice", remedy="run `voxbeam verify` on the corpus")
        self._levels = [[leaf.hash for leaf in self.leaves]]
        while len(level := self._levels[-1]) > 1:
            pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
            self._levels.append([_join(*pair) if len(pair) == 2 else pair[0] for pair in pairs])

    @property
    def root(self) -> str:
        return self._levels[-1][0].hex() if self.leaves else EMPTY_ROOT

    def inclusion(self, recording: str) -> dict[str, Any]:
        """The proof that a recording is in the tree. Raises LedgerError if it is not."""
        at = self._place(recording)
        if at == len(self.leaves) or self.leaves[at].recording != recording:
            raise LedgerError(f"{recording} is not in the release", remedy="name recordings as the release does")
        return self._proof(at)

    def absence(self, recording: str) -> list[dict[str, Any]]:
        """The proofs of the neighbors between which it would be. Raises LedgerError if it is in the tree."""
        at = self._place(recording)
        if at < len(self.leaves) and self.leaves[at].recording == recording:
            raise LedgerError(
                f"{recording} is still in the release", remedy="build a release without it first (--remove-unlisted)"
            )
        return [self._proof(place) for place in (at - 1, at) if 0 <= place < len(self.leaves)]

    def _place(self, recording: str) -> int:
        return bisect_left(self._names, recording)

    def _proof(self, at: int) -> dict[str, Any]:
        leaf, path, place = self.leaves[at], list[str](), at
        for level in self._levels[:-1]:
            if (partner := place ^ 1) < len(level):
                path.append(level[partner].hex())
            place //= 2
        return {"index": at, "recording": leaf.recording, "sha256": leaf.sha256, "path": path}


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def includes(root: str, size: int, proof: dict[str, Any]) -> bool:
    """Whether a proof shows its recording at its index, in a tree of `size` leaves with this root."""
    place, count, path = int(proof["index"]), size, [bytes.fromhex(one) for one in proof["path"]]
    if not 0 <= place < size:
        return False
    value = Leaf(str(proof["recording"]), str(proof["sha256"])).hash
    while count > 1:
        if place ^ 1 < count:
            if not path:
                return False
            partner = path.pop(0)
            value = _join(partner, value) if place & 1 else _join(value, partner)
        place, count = place // 2, (count + 1) // 2
    return not path and value.hex() == root


def excludes(root: str, size: int, recording: str, proofs: Sequence[dict[str, Any]]) -> bool:
    """Whether proofs of neighbors show that a recording is not in a tree of `size` leaves with this root."""
    if size == 0:
        return root == EMPTY_ROOT and not proofs
    if not all(includes(root, size, proof) for proof in proofs):
        return False
    before = [proof for proof in proofs if str(proof["recording"]) < recording]
    after = [proof for proof in proofs if str(proof["recording"]) > recording]
    if len(before) + len(after) != len(proofs) or len(before) > 1 or len(after) > 1:
        return False
    left = int(before[0]["index"]) if before else -1
    right = int(after[0]["index"]) if after else size
    return right == left + 1
