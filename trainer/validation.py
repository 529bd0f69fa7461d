"""Validation of the averaged weights, on the same batches every time, under two conditions.

`valid`: every utterance by itself, as most are in training. `speaking`: every utterance after other speech of the same person,
as in synthesis; only the frames after that speech count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice

import torch

from voxbeam.models.batch import Batch
from voxbeam.models.valle import ARModel, LossSums, NARModel
from voxbeam.trainer.optimization import TrainState, sum_losses

Sum = Callable[[Sequence[float]], list[float]]
"""sums numbers over all ranks"""
Speak = Callable[[ARModel, NARModel], dict[str, float]]
"""measures what an AR and a NAR model speak"""


def validate(
    states: Sequence[TrainState], steps: Iterator[tuple[list[Batch], int]], count: int, condition: str, sum_over_ranks: Sum
) -> dict[str, float]:
    """`<condition>/{loss,top1,top10}/<codebook>` over `count` steps of a source; loss in nats per frame.

    Without a prompted utterance in them, `speaking` has no metrics.
    """
    batches = [batch for step, _ in islice(steps, count) for batch in step if not batch.is_dummy]
    if condition == "speaking":
        batches = [batch.take(batch.prompt_lengths_B > 0) for batch in batches if bool((batch.prompt_lengths_B > 0).any())]
    metrics: dict[str, float] = {}
    for state in states:
        nothing = LossSums(*(torch.zeros((), device=state.device) for _ in LossSums._fields))
        with state.averaged():
            rows = [state.evaluate(batch) for batch in batches]
        for codebook in state.codebooks:
            sums = sum_losses([nothing, *(row[codebook] for row in rows)])
            loss, frames, top1, top10 = sum_over_ranks([float(value) for value in sums])
            if frames:
                metrics[f"{condition}/loss/{codebook}"] = loss / frames
                metrics[f"{condition}/top1/{codebook}"] = top1 / frames
                metrics[f"{condition}/top10/{codebook}"] = top10 / frames
    return metrics


def speak_averaged(states: Sequence[TrainState], speak: Speak) -> dict[str, float]:
    """The metrics of the averaged models. Raises ValueError unless both are trained."""
    models = {state.name: state.model for state in states}
    ar, nar = models.get("ar"), models.get("nar")
    if not (isinstance(ar, ARModel) and isinstance(nar, NARModel)):
        raise ValueError("a run that speaks trains both models")
    with ExitStack() as averaged:
        for state in states:
            averaged.enter_context(state.averaged())
        return speak(ar, nar)


def total_loss(metrics: dict[str, float]) -> float:
    """Nats per frame of all codebooks that a run learns, as the mean of the conditions; infinite if it is not a number."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        condition, _, rest = name.partition("/")
        if rest.startswith("loss/"):
            found[condition] = found.get(condition, 0.0) + value
    total = sum(found.values()) / len(found) if found else math.inf
    return total if math.isfinite(total) else math.inf
