"""Watch: asks again, while a run goes on, whether somebody in its release was taken down since it began.

A run reads what it has opened or cached, also of a release that was purged: without this it would learn from the
person to its end.
"""

from __future__ import annotations

from collections.abc import Mapping

from voxbeam.safety.tombstones import Tombstones, read_feeds, require_no_tombstones
from voxbeam.schemas.errors import ConsentError
from voxbeam.storage.releases import read_release, release_numbers
from voxbeam.storage.store import Store


class TakedownWatch:
    """Watches the tombstones of a corpus, and of feeds elsewhere, for a release that is being read.

    `feeds` are what was read of them when the run began, by address.
    """

    def __init__(self, corpus: Store, release: int, feeds: Mapping[str, Tombstones]) -> None:
        self.corpus, self.release, self.feeds = corpus, release, feeds

    def __call__(self) -> None:
        """Raises ConsentError once the release has somebody who was taken down, or is gone after a takedown."""
        feeds = read_feeds(self.corpus, [Store(address) for address in self.feeds if address != self.corpus.root])
        if {address: one.head for address, one in feeds.items()} == {address: one.head for address, one in self.feeds.items()}:
            return
        if self.release not in release_numbers(self.corpus):
            raise ConsentError(
                f"release {self.release:06d} of {self.corpus.root} was deleted while it was read, and people were taken down",
                remedy="train on the latest release; `voxbeam takedown checkpoints` says which checkpoints learned from them",
            )
        require_no_tombstones(self.corpus, read_release(self.corpus, self.release), feeds)
        self.feeds = feeds
