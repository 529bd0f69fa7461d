"""Runner options: the Beam options of a build, and the defaults that each runner needs beyond Beam's own.

An option that was given is never changed. Nothing heavy is imported, so that a command can read its options before it loads Beam.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from voxbeam.schemas.errors import RunnerError
from voxbeam.schemas.nearest import did_you_mean
from voxbeam.storage.store import is_bucket

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
DATAFLOW_GPU = "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
"""The accelerator that a unit's stages request of Dataflow for CUDA: one GPU, on a machine with eight cores."""


_RUNNERS = ("FnApiRunner", "SparkRunner", "FlinkRunner", "DataflowRunner", "PortableRunner", "PrismRunner", "DirectRunner")


class RunnerOptions:
    """Beam options as they were given: `--name=value` or `--name value`, in any order.

    Raises RunnerError for a value that is none, and for a runner that Beam does not have.
    """

    def __init__(self, args: Sequence[str]) -> None:
        self.args = tuple(args)
        self._parsed, _ = _parser().parse_known_args(list(args))
        name = str(self._parsed.runner)
        if "." not in name and self.runner not in {known.lower().removesuffix("runner") for known in _RUNNERS}:
            raise RunnerError(
                f"there is no runner {name!r}{did_you_mean(name, _RUNNERS)}",
                remedy=f"name one of {', '.join(_RUNNERS)}, or the full name of a class",
            )
        if self._parsed.direct_num_workers < 0:
            raise RunnerError(
                f"--direct_num_workers is {self._parsed.direct_num_workers}",
                remedy="give a number of processes, or 0 for one per core",
            )

    @property
    def runner(self) -> str:
        """The runner's short name: `SparkRunner`, `spark` and the full path are all 'spark', as in Beam."""
        return str(self._parsed.runner).rpartition(".")[2].lower().removesuffix("runner")

    def local_workers(self, gpus: int = 0, useful: int | None = None) -> int:
        """Number of worker processes of the in-process runner; 0 for another runner.

        By default one per GPU if the models run on GPUs, else one per core, and not more than are of use.
        """
        if self.runner != "fnapi":
            return 0
        workers = gpus or os.cpu_count() or 1
        return self._parsed.direct_num_workers or (workers if useful is None else min(workers, useful))

    @property
    def on_dataflow(self) -> bool:
        return self.runner == "dataflow"

    @property
    def waits_for_result(self) -> bool:
        """Whether to wait until the runner has run the job."""
        return not self._parsed.no_wait_until_finish

    @property
    def detached(self) -> bool:
        """Whether the job is only described or not waited for: its release is committed later, when the job runs."""
        return not self.waits_for_result or bool(self._parsed.template_location or self._parsed.output_executable_path)

    def accelerator(self, device: str) -> str | None:
        """The accelerator hint for the stages of a unit. Only Dataflow reads it, and not together with `worker_accelerator`."""
        if not self.on_dataflow or device != "cuda" or _contains(self._parsed.services, "worker_accelerator="):
            return None
        hints = [hint.partition("=")[2] for hint in self._parsed.hints if _is_accelerator(hint)]
        return hints[-1] if hints else DATAFLOW_GPU

    def require_bucket_uris(self, uris: Iterable[str]) -> None:
        """Raises RunnerError for a local path on Dataflow, whose workers cannot read it."""
        local = next((uri for uri in uris if not is_bucket(uri)), None) if self.on_dataflow else None
        if local is not None:
            raise RunnerError(
                f"Dataflow's workers cannot see {local}", remedy="copy it to a bucket (gs://…) and use that address"
            )

    def with_defaults(self, output: str, device: str) -> list[str]:
        """The options, with the runner's defaults for a corpus at `output` and models on `device` ('cpu' or 'cuda').

        Raises RunnerError for a missing option or library that has no default.
        """
        if self.runner in ("spark", "flink", "portable"):
            return self._with_defaults(_portable_defaults(self.runner, self._names))
        return self._for_dataflow(output, device) if self.on_dataflow else list(self.args)

    @property
    def _names(self) -> set[str]:
        given = {option.removeprefix("--").partition("=")[0] for option in self.args if option.startswith("--")}
        return given | {"machine_type"} if "worker_machine_type" in given else given

    def _with_defaults(self, defaults: dict[str, str]) -> list[str]:
        return [*self.args, *(f"--{name}={value}" for name, value in defaults.items() if name not in self._names)]

    def _for_dataflow(self, output: str, device: str) -> list[str]:
        """docs/dataflow.md has the reasons."""
        if "sdk_container_image" not in self._names:
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
        elif hint:  # for light steps; with `worker_accelerator` the user chooses a machine that fits the GPU
            defaults["machine_type"] = "n2-standard-2"
        options = self._with_defaults(defaults)
        if device == "cuda" and not _contains(self._parsed.experiments, "use_multiple_sdk_containers"):
            options.append("--experiments=no_use_multiple_sdk_containers")
        return _without_accelerator(options) if hint else options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunnerError(message, remedy="see `voxbeam build --help`, and Beam's documentation of the runner")


def _parser() -> argparse.ArgumentParser:
    """The options that voxbeam reads too, under Beam's names."""
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
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resource_hint", "--resource_hints", dest="hints", action="append", default=[])
    return parser


def _portable_defaults(runner: str, given: set[str]) -> dict[str, str]:
    """docs/spark.md has the reasons."""
    defaults = {"environment_cache_millis": "3600000", "sdk_worker_parallelism": "1"}
    if runner != "flink":
        defaults["storage_level"] = "MEMORY_AND_DISK"
    if "environment_type" not in given:
        boot = Path(sys.prefix, "bin", "voxbeam-boot")
        defaults |= {"environment_type": "PROCESS", "environment_config": json.dumps({"command": str(boot)})}
    return defaults


def _without_accelerator(options: list[str]) -> list[str]:
    """The options without an accelerator hint, which Beam would put on every step; the stages that use a GPU have it instead."""
    asked, rest = _hint_parser().parse_known_args(options)
    return [*rest, *(f"--resource_hint={hint}" for hint in asked.hints if not _is_accelerator(hint))]


def _is_accelerator(hint: str) -> bool:
    return hint.startswith("accelerator=")


def _contains(values: Iterable[str], part: str) -> bool:
    return any(part in value for value in values)
