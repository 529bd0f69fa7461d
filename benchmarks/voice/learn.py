"""Trains the AR and the NAR model of the voice in the box on one GPU, in a given time, while `speak.py` makes the speech.

    python -m benchmarks.voice.learn PACK ROUNDS OUT --seconds 400 [--tiny]

It compiles first, begins with the first files in ROUNDS, and takes up the others as they come. A step of a model is one CUDA
graph (`steps.py`); both models learn at the same time. The learning rate falls linearly to zero at the end of the time. OUT gets
the averaged weights in bfloat16 (ar-0.safetensors, ar-1, nar-0, nar-1), log.txt, and the codes of PACK/requests.npz as both
models speak them, at several settings of the sampling.

Shapes: as in `packed.py`.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import torch

from benchmarks.voice.data import Utterances
from benchmarks.voice.feed import Feed
from benchmarks.voice.growing import Speech
from benchmarks.voice.learner import Learner
from benchmarks.voice.spoken import speak_requests

AHEAD = 12
"""rounds that the host stays ahead of the device at most"""
BETWEEN_VALIDATIONS = 45
"""seconds"""


class Log:
    """Lines with the time since the beginning, printed and kept in a file."""

    def __init__(self, path: Path) -> None:
        self.began, self.path = time.monotonic(), path

    def __call__(self, text: str) -> None:
        line = f"learn {self.elapsed:6.1f} s  {text}"
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began


class Run:
    """A run of a given time, over the speech that there is and that comes."""

    def __init__(self, arguments: argparse.Namespace, log: Log, learner: Learner) -> None:
        self.a, self.log, self.learner = arguments, log, learner
        self.speech = Speech(arguments.pack, arguments.rounds, learner.growing, log)
        self.wait_for_speech()
        data = self.speech.joined()
        rng = np.random.default_rng(9)
        self.valid = {name: self.speech.held_batches(data, learner.sizes[name], learner.most, rng) for name in learner.states}
        self.feed = Feed(data, learner.sizes, learner.most)
        self.loading: threading.Thread | None = None
        self.events: list[list[torch.cuda.Event]] = []
        self.steps = dict.fromkeys(learner.states, 0)
        self.began = self.since = log.elapsed
        self.next_validation = self.began + BETWEEN_VALIDATIONS
        log(f"begins with {self.extent(data)}")

    @staticmethod
    def extent(data: Utterances) -> str:
        return f"{len(data.frames_U)} utterances, {len(data.owner_F) / 75 / 3600:.2f} hours"

    def wait_for_speech(self) -> None:
        """Until the first rounds of made speech are there. Raises SystemExit when the time is over."""
        while len(self.speech.files) < min(2, self.a.first):
            self.speech.take_up()
            time.sleep(0.2)
            if self.log.elapsed > self.a.seconds:
                raise SystemExit("no speech came")

    def run(self) -> None:
        """Learns until the time is over, saves, and speaks."""
        learner, log, saved, rounds = self.learner, self.log, False, 0
        every = 5 if self.a.tiny else 200
        while (progress := (log.elapsed - self.began) / (self.a.seconds - self.began)) < 1:
            for name in learner.states:
                learner.step(name, self.feed, progress)
            rounds += 1
            if rounds % 2 == 0:  # the NAR model learns more slowly, and makes most of the likeness
                learner.step("nar", self.feed, progress)
            self.wait_for_device()
            if rounds % 20 == 0 and (self.loading is None or not self.loading.is_alive()):
                self.loading = threading.Thread(target=self.load, daemon=True)
                self.loading.start()
            if rounds % every == 0:
                self.report(progress)
                if progress > 0.6 and not saved:
                    learner.save(log.elapsed)
                    saved = True
        self.finish()

    def wait_for_device(self) -> None:
        """Keeps the host from running far ahead of the device."""
        if self.learner.device != "cuda":
            return
        self.events.append([torch.cuda.Event() for _ in self.learner.states])
        for event, state in zip(self.events[-1], self.learner.states.values(), strict=True):
            event.record(state.stream)
        if len(self.events) > AHEAD:
            for event in self.events.pop(0):
                event.synchronize()

    def load(self) -> None:
        """Takes up new rounds of speech, beside the steps."""
        if self.speech.take_up():
            self.feed.data = self.speech.joined()
            self.log(f"goes on with {self.extent(self.feed.data)}")

    def report(self, progress: float) -> None:
        """Losses since the last report; a model whose loss is not finite goes back. Validates when it is time."""
        if self.learner.device == "cuda":
            torch.cuda.synchronize()
        seconds, self.since = self.log.elapsed - self.since, self.log.elapsed
        parts = [f"{100 * progress:4.1f} %"]
        for name, state in self.learner.states.items():
            loss, right, count, guide = state.read()
            each = guide / max(1, state.steps - self.steps[name])
            self.steps[name] = state.steps
            parts.append(f"{name} {state.steps}: {loss / count:.3f} nats {100 * right / count:.1f} %")
            parts.append(f"guide {each:.2f} {count / seconds:.0f}/s,")
            if not state.check(loss):
                parts.append("not finite; back to the last average at half the rate,")
        self.log(" ".join(parts))
        if self.log.elapsed > self.next_validation:
            self.log(self.learner.validate(self.valid))
            self.next_validation = self.log.elapsed + BETWEEN_VALIDATIONS

    def finish(self) -> None:
        """Saves the averages, validates them, and speaks the requests of the pack."""
        learner, log, a = self.learner, self.log, self.a
        for state in learner.states.values():
            if not all(bool(torch.isfinite(p).all()) for p in state.average):
                state.check(math.nan)
        learner.save(log.elapsed)
        log(f"saved after {learner.states['ar'].steps} and {learner.states['nar'].steps} steps")
        log(learner.validate(self.valid))
        requests = a.pack / "requests.npz"
        if requests.exists():
            try:
                speak_requests(requests, learner, a.out / "spoken.npz", lambda: log.elapsed > a.seconds + a.speak_seconds)
            except Exception:  # the weights are saved
                log("not spoken: " + traceback.format_exc(limit=5))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("rounds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rate", type=float, default=1.6e-3)
    parser.add_argument("--nar-rate", type=float, default=1.2e-3)
    parser.add_argument("--ar-size", type=int, default=24_576)
    parser.add_argument("--nar-size", type=int, default=12_288)
    parser.add_argument("--first", type=int, default=2, help="rounds to wait for")
    parser.add_argument("--speak-seconds", type=float, default=25)
    parser.add_argument("--profile", action="store_true", help="only times the steps")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--eager", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = Log(arguments.out / "log.txt")
    learner = Learner(arguments, log)
    learner.warm_up()
    if arguments.profile:
        learner.profile()
    else:
        Run(arguments, log, learner).run()
    log("done")


if __name__ == "__main__":
    main()
