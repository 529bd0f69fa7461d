"""Runner options: what the options for Beam ask for, and what a runner needs beyond them to run a build well.

What was typed always wins. Nothing heavy is imported, so that a command can look at its options before it loads Beam.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from voxbeam.schemas.errors import RunnerError
from voxbeam.storage.store import is_bucket

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
GPU = "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
"""What a unit's stages ask of Dataflow where models run on CUDA: one GPU, and a machine of eight cores around it."""


class RunnerOptions:
    """The options that Beam gets, as they were typed: `--name=value` or `--name value`, in any order."""

    def __init__(self, typed: Sequence[str]) -> None:
        self.typed = tuple(typed)
        self._asked, _ = _parser().parse_known_args(list(typed))

    @property
    def runner(self) -> str:
        """The runner by its short name; as Beam has it, `SparkRunner`, `spark` and the full path are all 'spark'."""
        return str(self._asked.runner).rpartition(".")[2].lower().removesuffix("runner")

    def local_workers(self, gpus: int = 0) -> int:
        """How many worker processes the in-process runner shall have; 0 for another runner.

        By default as many as the models have GPUs to run on, or one per core where they run on the CPU.
        """
        return (self._asked.direct_num_workers or gpus or os.cpu_count() or 1) if self.runner == "fnapi" else 0

    @property
    def on_dataflow(self) -> bool:
        return self.runner == "dataflow"

    @property
    def waits(self) -> bool:
        """Whether the command shall wait for the runner, be it to run the job or to describe it."""
        return not self._asked.no_wait_until_finish

    @property
    def detached(self) -> bool:
        """Whether the job is only described, or not waited for: its release comes later, if somebody runs it."""
        return not self.waits or bool(self._asked.template_location or self._asked.output_executable_path)

    def accelerator(self, device: str) -> str | None:
        """The accelerator hint of a unit's stages: only Dataflow reads one, and forbids it beside `worker_accelerator`."""
        if not self.on_dataflow or device != "cuda" or _any_has(self._asked.services, "worker_accelerator="):
            return None
        hints = [hint.partition("=")[2] for hint in self._asked.hints if _is_accelerator(hint)]
        return hints[-1] if hints else GPU

    def require_bucket_uris(self, uris: Iterable[str]) -> None:
        """Raises RunnerError for a local path on Dataflow, whose workers share no disk with anybody."""
        local = next((uri for uri in uris if not is_bucket(uri)), None) if self.on_dataflow else None
        if local is not None:
            raise RunnerError(
                f"Dataflow's workers cannot see {local}", remedy="copy it to a bucket (gs://…) and use that address"
            )

    def filled(self, output: str, device: str) -> list[str]:
        """The options, with what the runner needs to write a corpus to `output` with models on `device` ('cpu' or 'cuda').

        Raises RunnerError where an option or a library is missing that has no substitute.
        """
        if self.runner in ("spark", "flink", "portable"):
            return self._with(_portable_defaults(self.runner, self._given))
        return self._for_dataflow(output, device) if self.on_dataflow else list(self.typed)

    @property
    def _given(self) -> set[str]:
        given = {option.removeprefix("--").partition("=")[0] for option in self.typed if option.startswith("--")}
        return given | {"machine_type"} if "worker_machine_type" in given else given

    def _with(self, defaults: dict[str, str]) -> list[str]:
        return [*self.typed, *(f"--{name}={value}" for name, value in defaults.items() if name not in self._given)]

    def _for_dataflow(self, output: str, device: str) -> list[str]:
        """The reasons stand in docs/dataflow.md."""
        if "sdk_container_image" not in self._given:
            raise RunnerError(
                "Dataflow needs --sdk_container_image", remedy="deploy/dataflow/Dockerfile builds one (docs/dataflow.md)"
            )
        if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.cloud.dataflow") is None:
            raise RunnerError("Dataflow's client libraries are missing", remedy="install voxbeam[dataflow]")
        hint = self.accelerator(device)
        defaults = {"sdk_location": "container", "number_of_worker_harness_threads": "1", "disk_size_gb": "100"}
        if output.startswith("gs://"):
            defaults["temp_location"] = f"{output.rstrip('/')}/dataflow"
        if device == "cpu":
            defaults["machine_type"] = "n2-highmem-4"
        elif hint:  # light steps only; with `worker_accelerator` the machine must fit the GPU, and is for the user to name
            defaults["machine_type"] = "n2-standard-2"
        options = self._with(defaults)
        if device == "cuda" and not _any_has(self._asked.experiments, "use_multiple_sdk_containers"):
            options.append("--experiments=no_use_multiple_sdk_containers")
        return _without_accelerator(options) if hint else options


def _parser() -> argparse.ArgumentParser:
    """The options that voxbeam itself looks at, under the names that Beam gives them."""
    parser = _hint_parser()
    parser.add_argument("--runner", default=LOCAL_RUNNER)
    parser.add_argument("--direct_num_workers", type=int, default=0)
    parser.add_argument("--template_location")
    parser.add_argument("--output_executable_path")
    parser.add_argument("--no_wait_until_finish", action="store_true")
    parser.add_argument("--experiment", "--experiments", dest="experiments", action="append", default=[])
    parser.add_argument("--dataflow_service_option", "--dataflow_service_options", dest="services", action="append", default=[])
    return parser


def _hint_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resource_hint", "--resource_hints", dest="hints", action="append", default=[])
    return parser


def _portable_defaults(runner: str, given: set[str]) -> dict[str, str]:
    """The reasons stand in docs/spark.md."""
    defaults = {"environment_cache_millis": "3600000", "sdk_worker_parallelism": "1"}
    if runner != "flink":
        defaults["storage_level"] = "MEMORY_AND_DISK"
    if "environment_type" not in given:
        boot = Path(sys.prefix, "bin", "voxbeam-boot")
        defaults |= {"environment_type": "PROCESS", "environment_config": json.dumps({"command": str(boot)})}
    return defaults


def _without_accelerator(options: list[str]) -> list[str]:
    """The options less a hint that Beam would put on every step; the stages that use a GPU carry it instead."""
    asked, rest = _hint_parser().parse_known_args(options)
    return [*rest, *(f"--resource_hint={hint}" for hint in asked.hints if not _is_accelerator(hint))]


def _is_accelerator(hint: str) -> bool:
    return hint.startswith("accelerator=")


def _any_has(values: Iterable[str], part: str) -> bool:
    return any(part in value for value in values)
