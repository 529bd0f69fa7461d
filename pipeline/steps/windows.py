"""Windows: divides a recording into units."""

import hashlib

from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.unit import Unit


def plan_windows(recording: Recording, source: SourceInfo, config: DecodeConfig, fingerprint: str) -> list[Unit]:
    """The units of a recording: for each track one, or as many windows of equal length as keep each at `window_s` or less."""
    count = max(1, -(-source.duration_ms // round(config.window_s * 1000)))
    edges = [source.duration_ms * i // count for i in range(count + 1)]
    text_digest = hashlib.sha256(recording.text.encode()).hexdigest() if recording.text else ""
    return [
        Unit(
            recording=recording,
            source=source,
            index=number * count + index,
            track=track,
            start_ms=edges[index],
            end_ms=edges[index + 1],
            margin_ms=round(config.margin_s * 1000),
            fingerprint=fingerprint,
            text_digest=text_digest,
        )
        for number, track in enumerate(source.tracks)
        for index in range(count)
    ]
