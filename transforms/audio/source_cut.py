"""Source cut: a stretch of a recording as its segments heard it, decoded in the sandbox; needs neither Beam nor torch."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import ModelError, ObjectReplacedError, StageError, StorageError
from voxbeam.schemas.formats import CODEC_SAMPLES_PER_MS
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.local_copies import open_sparse
from voxbeam.transforms.audio.sandbox import Sandbox

_LIBRARIES = ("av", "scipy", "soundfile", "soxr")
_MEMORY_MB, _TIMEOUT_S = 4096, 300.0


class SourceCutter:
    """Cuts recordings. It keeps one decoder process between two cuts; `close` ends it.

    Raises ModelError where the libraries that decode audio are not installed.
    """

    def __init__(self) -> None:
        if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
            raise ModelError(
                f"decoding a recording needs {', '.join(missing)}", remedy="install them: pip install 'voxbeam[pipeline]'"
            )
        self._sandbox = Sandbox(_MEMORY_MB)

    def cut(self, row: RecordingRow, start_ms: int, end_ms: int, track: int | None = None) -> NDArray[np.float32]:
        """A stretch of a recording as float32 [24 · ms], mono at 24 kHz.

        Raises StorageError when its file is gone, is not the one that the release was made from, or cannot be decoded.
        """
        if row.frames is None or row.sample_rate is None or row.channels is None or row.decoder is None:
            raise StorageError(f"recording {row.recording} was never decoded", remedy="its row in `recordings` says why")
        info = {
            "format": row.format or "",
            "sample_rate": row.sample_rate,
            "channels": row.channels,
            "frames": row.frames,
            "decoder": row.decoder,
            "channel_policy": row.channel_policy or "mono",
            "channel": row.channel,
        }
        window = {"start_ms": start_ms, "end_ms": end_ms, "margin_ms": 0, "track": track}
        try:
            with open_sparse(row.uri, row.etag) as (path, fill):
                if row.bytes is not None and path.stat().st_size != row.bytes:
                    raise ObjectReplacedError(f"{row.uri} has another size than when it was built")
                _, arrays = self._sandbox.call("decode", path, {"info": info, **window}, _TIMEOUT_S, fill)
        except FileNotFoundError as error:
            raise StorageError(f"{row.uri} is not there any more", remedy="put the recording back where it was listed") from error
        except (ObjectReplacedError, StageError) as error:
            raise StorageError(f"{row.recording} cannot be cut: {error}", remedy="put back the file that was built") from error
        wave = np.frombuffer(arrays[1] if len(arrays) == 3 else b"", np.float32)
        if len(wave) != (end_ms - start_ms) * CODEC_SAMPLES_PER_MS or not np.isfinite(wave).all():
            raise StorageError(f"{row.recording}: the decoder's reply is not the stretch that was asked for")
        return wave

    def close(self) -> None:
        """Ends the decoder process."""
        self._sandbox.close()
