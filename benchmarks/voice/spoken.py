"""Requests of a pack, spoken by the models that a run has just trained, on the same machine.

Shapes: as in `packed.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig

from benchmarks.voice.data import pack_codes
from benchmarks.voice.learner import Learner


def speak_requests(path: Path, learner: Learner, out: Path, ends: Callable[[], bool]) -> None:
    """The requests of a file as the product speaks them, by the averaged weights, at each of its settings until `ends`.

    `out` gets the codes, their frames, and whether each ended, by the number of the setting.
    """
    requests, settings = read_requests(path, 90 if learner.a.tiny else 1400)
    for state in learner.states.values():
        state.swap()
        state.model.eval()
    ar, nar = (learner.states[name].model for name in ("ar", "nar"))
    made: dict[str, np.ndarray] = {}
    for number, setting in enumerate(settings[:2] if learner.a.tiny else settings):
        if ends():
            break
        results = generate(ar, nar, requests, SamplingConfig(**setting), seed=number)  # type: ignore[arg-type]
        made[f"frames-{number}"] = np.array([r.codes_KT.shape[1] for r in results])
        made[f"ended-{number}"] = np.array([r.finished for r in results])
        made[f"codes-{number}"] = pack_codes(np.concatenate([r.codes_KT for r in results], 1).astype(np.int64))
        np.savez(out, **made)  # type: ignore[arg-type]
        learner.log(f"{setting}: {sum(r.finished for r in results)} of {len(results)} end")
    for state in learner.states.values():
        state.swap()


def read_requests(path: Path, longest: int) -> tuple[list[Request], list[dict[str, float]]]:
    """Requests of at most `longest` frames, and the settings of the sampling."""
    arrays = dict(np.load(path))
    phones = np.split(arrays["phones"].astype(np.int64), np.cumsum(arrays["phone_counts"])[:-1])
    prompts = np.split(arrays["prompts"].astype(np.int16), np.cumsum(arrays["prompt_frames"])[:-1], axis=1)
    requests = [
        Request(phones_L=p, prompt_KP=k, max_frames=min(longest, int(m)))
        for p, k, m in zip(phones, prompts, arrays["max_frames"], strict=True)
    ]
    return requests, json.loads(str(arrays["settings"]))
