"""Previous release: the recordings that it contains, looked up by the workers of a build that extends it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from voxbeam.schemas.manifest import RELEASED, RecordingRow
from voxbeam.storage.releases import read_release, read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.base import once_per_process

if TYPE_CHECKING:
    from voxbeam.pipeline.steps.probe import Probed


class PreviousRelease:
    """Identifiers and hashes of the recordings that are done in a release."""

    def __init__(self, sha256_by_recording: dict[str, str]) -> None:
        self._sha256 = sha256_by_recording
        self._recording = {sha256: recording for recording, sha256 in sha256_by_recording.items()}

    def contains(self, recording: str, sha256: str | None = None) -> bool:
        """Whether the release contains the recording; with a hash, whether it contains it with these bytes."""
        return recording in self._sha256 and sha256 in (None, self._sha256[recording])

    def recording_with_bytes(self, same_bytes: "Iterable[Probed]") -> str | None:
        """The released recording that has the bytes of these."""
        for probed in same_bytes:
            if probed.source and probed.source.sha256 in self._recording:
                return self._recording[probed.source.sha256]
        return None


@once_per_process
def open_previous_release(output: str, number: int | None) -> PreviousRelease:
    """The recordings of a release, or none if there is no number. About 150 bytes of memory each."""
    if number is None:
        return PreviousRelease({})
    store = Store(output)
    rows = read_rows(store, read_release(store, number), RecordingRow)
    return PreviousRelease({row.recording: str(row.sha256) for row in rows if row.status in RELEASED})
