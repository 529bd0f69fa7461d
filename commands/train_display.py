"""What `voxbeam train`, `codec train` and `codec evaluate` show while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from voxbeam.trainer.codec.logger import CodecTrainLog
from voxbeam.trainer.training import TrainLog


@contextmanager
def showing_training(steps: int, console: Console) -> Iterator[Callable[[TrainLog], None]]:
    """Shows training logs: a progress bar on a terminal, one line for each log elsewhere."""
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps)

        def show(log: TrainLog) -> None:
            line = describe_log(log.metrics)
            if line and console.is_terminal:
                bar.update(task, completed=log.step, description=line)
            elif line:
                console.print(f"{log.step}: {line}")

        yield show


def describe_log(metrics: dict[str, float]) -> str:
    """A line about metrics, such as "ar 3.210 top-10 80%, 5,000 frames/s", or "valid 3.30 3.95, speaking 3.41 4.02"."""
    if "train/frames_per_second" not in metrics:
        conditions = {condition: _losses(metrics, condition) for condition in ("valid", "speaking")}
        spoken = [f"spoken WER {metrics['spoken/wer']:.0%}"] if "spoken/wer" in metrics else []
        return ", ".join([*(f"{name} {losses}" for name, losses in conditions.items() if losses), *spoken])
    models = [name for name in ("ar", "nar") if f"train/{name}/loss" in metrics]
    parts = [f"{name} {metrics[f'train/{name}/loss']:.3f} top-10 {metrics[f'train/{name}/top10']:.0%}" for name in models]
    parts.append(f"{metrics['train/frames_per_second']:,.0f} frames/s")
    if "train/mfu" in metrics:
        parts.append(f"MFU {metrics['train/mfu']:.0%}")
    skipped = sum(int(metrics.get(f"train/{name}/skipped", 0)) for name in models)
    if skipped:
        parts.append(f"{skipped} steps skipped, since their gradients were not finite")
    return ", ".join(parts)


def _losses(metrics: dict[str, float], condition: str) -> str:
    """Loss of the first codebook, and the mean of the further ones, as far as they were measured."""
    values = {int(name.rpartition("/")[2]): value for name, value in metrics.items() if name.startswith(f"{condition}/loss/")}
    further = [value for codebook, value in values.items() if codebook]
    shown = ([values[0]] if 0 in values else []) + ([sum(further) / len(further)] if further else [])
    return " ".join(f"{value:.3f}" for value in shown)


@contextmanager
def showing_codec_training(console: Console) -> Iterator[Callable[[CodecTrainLog], None]]:
    """Shows logs of codec training: a progress bar on a terminal, and one line for each evaluation."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def show(log: CodecTrainLog) -> None:
            bar.update(task, completed=log.fraction_done, description=f"step {log.step:,}  mel {log.losses['mel']:.3f}")
            if log.evaluation is not None:
                perplexity = log.evaluation.get("perplexity")
                lowest = f", lowest perplexity {min(perplexity):.0f}" if perplexity else ""
                console.print(f"step {log.step:,}: held-out mel {log.evaluation['held_out_mel']:.4f}{lowest}")

        yield show


@contextmanager
def showing_report(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Shows the steps of a codec report as bars, on a terminal only."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done)

        yield show
