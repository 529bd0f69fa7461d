"""The zoo of bad audio: each file is done, or quarantined with reason and remedy; none hangs, and none leads elsewhere."""

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbeam.pipeline.steps.probe import probe
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import Failure
from voxbeam.schemas.recording import Recording
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.decode import DecodeAudio

from tests.cases.bad_audio import DONE, EITHER, QUARANTINED, write_bad_audio

CONFIG = DecodeConfig(timeout_s=30)


def outcome(path: Path) -> Failure | None:
    """What probing and decoding a file in the sandbox ends in; None for one that is done."""
    recording = Recording(recording="r", uri=str(path))
    probed = probe(recording, CONFIG)
    if probed.failure or probed.source is None:
        return probed.failure
    for unit in plan_windows(recording, probed.source, CONFIG, "f"):
        state = DecodeAudio(CONFIG).run_timed(UnitState(unit=unit))
        if state.failure:
            return state.failure
        assert np.isfinite(state.require_audio().pcm24k).all()
    return None


def test_every_bad_file_has_its_outcome(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        expected = write_bad_audio(tmp_path, speech[8 * 16_000 : 11 * 16_000], server.getsockname()[1])
        assert len(expected) >= 150
        wrong = {}
        for name, allowed in expected.items():
            started = time.monotonic()
            failure = outcome(tmp_path / name)
            seconds = time.monotonic() - started
            found = QUARANTINED if failure else DONE
            if failure and (failure.reason in ("unexpected", "decoder_timeout") or not failure.remedy):
                wrong[name] = f"{failure}"
            elif allowed not in (EITHER, found):
                wrong[name] = f"{found}, expected {allowed}: {failure}"
            elif seconds > 20:
                wrong[name] = f"{seconds:.0f} s"
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody came
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
