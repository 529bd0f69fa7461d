"""Portable runners: the options that Spark and Flink need to run a build well, filled in where the user gave none."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

PORTABLE = ("SparkRunner", "FlinkRunner", "PortableRunner")


def with_defaults(beam_options: Sequence[str]) -> list[str]:
    """Beam's options for a portable runner; the same for any other.

    Workers are processes of this installation (give `--environment_type=DOCKER` and an image otherwise). Without a cache, each
    stage would start fresh workers and load every model again; without a storage level, Spark would compute a stage with
    several outputs once for each of them.
    """
    given = {option.split("=", 1)[0] for option in beam_options}
    runner = next((option.split("=", 1)[1] for option in beam_options if option.startswith("--runner=")), None)
    if runner not in PORTABLE:
        return list(beam_options)
    defaults = {"--environment_cache_millis": "3600000", "--sdk_worker_parallelism": "1"}
    if runner != "FlinkRunner":
        defaults["--storage_level"] = "MEMORY_AND_DISK"
    if "--environment_type" not in given:
        boot = Path(sys.prefix, "bin", "voxbeam-boot")
        defaults |= {"--environment_type": "PROCESS", "--environment_config": json.dumps({"command": str(boot)})}
    return [*beam_options, *(f"{name}={value}" for name, value in defaults.items() if name not in given)]
