"""What voxbeam reads from Beam's options, and what it adds to them for each runner."""

import subprocess
import sys

import pytest

from voxbeam.pipeline.runners.options import DATAFLOW_GPU, LOCAL_RUNNER, RunnerOptions
from voxbeam.schemas.errors import RunnerError

from tests.pipeline.test_build import ROOT

IMAGE = "--sdk_container_image=pkg.dev/p/r/voxbeam:1"
DATAFLOW = ("--runner=DataflowRunner", IMAGE)


def filled(*options: str, output: str = "gs://corpora/a", device: str = "cpu") -> dict[str, list[str]]:
    """The filled options by name."""
    found: dict[str, list[str]] = {}
    for option in RunnerOptions(options).with_defaults(output, device):
        name, _, value = option.partition("=")
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        (["--direct_num_workers=3"], 3),
        (["--direct_num_workers", "1", "--experiments=x"], 1),
        ([f"--runner={LOCAL_RUNNER}", "--direct_num_workers=2"], 2),
        (["--runner=FnApiRunner", "--direct_num_workers=2"], 2),
        (["--runner=SparkRunner", "--direct_num_workers=2"], 0),
        (["--runner", "DataflowRunner"], 0),
    ],
)
def test_workers_that_the_options_ask_for(options: list[str], workers: int) -> None:
    assert RunnerOptions(options).local_workers() == workers


def test_one_worker_per_core_by_default() -> None:
    assert RunnerOptions([]).local_workers() == RunnerOptions(["--direct_num_workers=0"]).local_workers() >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runner=SparkRuner"], "no runner 'SparkRuner'; did you mean SparkRunner"),
        (["--runner=kubernetes"], "no runner 'kubernetes'"),
        (["--direct_num_workers=-3"], "direct_num_workers is -3"),
        (["--direct_num_workers=x"], "invalid int value: 'x'"),
    ],
)
def test_options_that_no_runner_can_use(options: list[str], message: str) -> None:
    """Before any work: Beam itself says so after listing the input, with a traceback."""
    with pytest.raises(RunnerError, match=message):
        RunnerOptions(options)


def test_looking_at_options_loads_no_beam() -> None:
    code = "import sys, voxbeam.pipeline.runners.options; sys.exit('apache_beam' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    "runner",
    [
        ["--runner=SparkRunner"],
        ["--runner", "SparkRunner"],
        ["--runner=spark"],
        ["--runner=apache_beam.runners.portability.spark_runner.SparkRunner"],
    ],
)
def test_a_portable_runner_however_it_is_named(runner: list[str]) -> None:
    options = RunnerOptions([*runner, "--storage_level", "DISK_ONLY"]).with_defaults("out", "cpu")
    assert "--environment_cache_millis=3600000" in options and "--environment_type=PROCESS" in options
    assert not any(option.startswith("--storage_level=") for option in options)


def test_a_given_environment_stays_as_it_is() -> None:
    assert "--environment_config" not in filled("--runner=PortableRunner", "--environment_type=DOCKER")
    assert "--storage_level" not in filled("--runner=FlinkRunner")
    assert filled("--direct_num_workers=2") == {"--direct_num_workers": ["2"]}


def test_dataflow_on_cpus() -> None:
    options = filled(*DATAFLOW)
    assert options["--temp_location"] == ["gs://corpora/a/dataflow"] and options["--sdk_location"] == ["container"]
    assert options["--machine_type"] == ["n2-highmem-4"] and "--experiments" not in options
    assert RunnerOptions(DATAFLOW).accelerator("cpu") is None


def test_dataflow_on_gpus_keeps_one_process_per_machine() -> None:
    options = filled(*DATAFLOW, "--experiments=x", device="cuda")
    assert options["--experiments"] == ["x", "no_use_multiple_sdk_containers"]
    assert options["--number_of_worker_harness_threads"] == ["1"]
    assert RunnerOptions(DATAFLOW).accelerator("cuda") == DATAFLOW_GPU
    assert RunnerOptions(["--runner=SparkRunner"]).accelerator("cuda") is None


def test_what_was_typed_for_dataflow_wins() -> None:
    typed = ["--worker_machine_type=n1-standard-8", "--temp_location", "gs://t", "--experiments=use_multiple_sdk_containers"]
    options = filled(*DATAFLOW, *typed, "--disk_size_gb=50", device="cuda")
    assert "--machine_type" not in options and options["--disk_size_gb"] == ["50"]
    assert options["--temp_location"] == [""]  # as typed, with a blank
    assert options["--experiments"] == ["use_multiple_sdk_containers"]


def test_another_accelerator_goes_to_the_same_stages() -> None:
    t4 = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
    typed = [*DATAFLOW, f"--resource_hint=accelerator={t4}", "--resource_hints", "min_ram=8GB"]
    assert RunnerOptions(typed).accelerator("cuda") == t4
    assert filled(*typed, device="cuda")["--resource_hint"] == ["min_ram=8GB"]


def test_a_gpu_for_all_workers_leaves_no_hint() -> None:
    typed = [*DATAFLOW, "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"]
    assert RunnerOptions(typed).accelerator("cuda") is None
    assert "--machine_type" not in filled(*typed, device="cuda")


def test_dataflow_refuses_what_its_workers_cannot_see() -> None:
    RunnerOptions(DATAFLOW).require_bucket_uris(["gs://speech", "s3://speech"])
    RunnerOptions(["--runner=SparkRunner"]).require_bucket_uris(["/shared/disk"])
    with pytest.raises(RunnerError, match=r"/data/corpus.*bucket"):
        RunnerOptions(DATAFLOW).require_bucket_uris(["gs://speech", "/data/corpus"])
    with pytest.raises(RunnerError, match="--sdk_container_image"):
        RunnerOptions(["--runner=DataflowRunner"]).with_defaults("gs://corpora/a", "cpu")


@pytest.mark.parametrize(
    "option", ["--no_wait_until_finish", "--template_location=gs://t/job.json", "--output_executable_path=job.jar"]
)
def test_a_job_that_is_handed_over(option: str) -> None:
    assert RunnerOptions([option]).detached and not RunnerOptions([]).detached
