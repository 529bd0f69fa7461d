"""The job that Dataflow would get, made by Beam's own runner without an account: what runs where, and what crosses a shuffle."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api

from voxbeam import assets
from voxbeam.commands.corpus import build as build_command
from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.error_reports import report_error
from voxbeam.pipeline.events import BuildObserver, BuildProgress
from voxbeam.pipeline.graph import build_graph
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.runners.launch import run_job
from voxbeam.pipeline.runners.options import DATAFLOW_GPU, RunnerOptions
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import CommitConflictError, ModelError, VoxbeamError, WorkerLostError
from voxbeam.storage.store import Store
from voxbeam.transforms.chain import build_stages

from tests.pipeline.test_build import ROOT
from tests.servers.dataflow import JOB, Service, dataflow_service
from tests.servers.s3 import s3_server

pytestmark = pytest.mark.slow

IMAGE = "europe-docker.pkg.dev/p/r/voxbeam:1"
DEMO = assets.DEMO
LAUNCH = ROOT / "deploy" / "dataflow" / "launch.py"
HINT = common_urns.resource_hints.ACCELERATOR.urn
GROUP = common_urns.primitives.GROUP_BY_KEY.urn
PARDO = common_urns.primitives.PAR_DO.urn


def job_of(device: Any) -> Job:
    config = CorpusConfig(device=device)
    return Job(
        output="gs://corpora/librilight",
        listing="listings/a.parquet",
        config=config,
        policy_path="listings/policy.json",
        fingerprint="f",
        model_hashes={},
        number=1,
        previous=None,
        extends_previous=False,
        recordings=1,
        allow_empty=False,
        run_id="r",
    )


def typed(folder: Path, *more: str, endpoint: str = "http://localhost:1") -> list[str]:
    """What a user types, and what keeps the submission on this machine."""
    (folder / "stage").mkdir(exist_ok=True)
    submission = [
        "--runner=DataflowRunner",
        "--project=p",
        "--region=europe-west4",
        "--job_name=j",
        f"--sdk_container_image={IMAGE}",
    ]
    here = ["--no_auth", f"--dataflow_endpoint={endpoint}", f"--staging_location={folder}/stage", f"--temp_location={folder}"]
    return [*submission, *here, *more]


@dataclass(frozen=True)
class Described:
    """A job as Dataflow gets it."""

    job: dict[str, Any]
    graph: api.Pipeline

    @property
    def pool(self) -> dict[str, Any]:
        return self.job["environment"]["workerPools"][0]

    def steps(self) -> dict[str, api.PTransform]:
        """The steps that are no composite, by name."""
        return {t.unique_name: t for t in self.graph.components.transforms.values() if not t.subtransforms and t.spec.urn}

    def hint(self, step: api.PTransform) -> str:
        environment = self.graph.components.environments.get(step.environment_id)  # a shuffle has none
        return environment.resource_hints.get(HINT, b"").decode() if environment else ""

    def readers(self, collection: str) -> list[api.PTransform]:
        return [step for step in self.steps().values() if collection in step.inputs.values()]

    def following(self, step: api.PTransform) -> api.PTransform:
        """The only reader of a step's only output."""
        (output,) = step.outputs.values()
        (reader,) = self.readers(output)
        return reader


def described(folder: Path, device: str, *more: str) -> Described:
    asked = RunnerOptions(typed(folder, f"--template_location={folder}/job.json", *more))
    job = job_of(device)
    root = beam.Pipeline(options=PipelineOptions(asked.with_defaults(job.output, device)))
    build_graph(root, job, asked.accelerator(device))
    root.run()
    graph = api.Pipeline.FromString((folder / "stage" / "pipeline.pb").read_bytes())
    return Described(json.loads((folder / "job.json").read_text()), graph)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Described:
    return described(tmp_path_factory.mktemp("gpu"), "cuda", "--experiments=mine")


def test_the_stages_of_a_unit_ask_for_a_gpu_and_nothing_else_does(gpu: Described) -> None:
    heavy = {name for name, step in gpu.steps().items() if gpu.hint(step)}
    stages = {f"ProcessUnits/{type(stage).__name__}/{stage.name.capitalize()}" for stage in build_stages(CorpusConfig())}
    assert heavy == {"ProcessUnits/LoadFinishedUnit", "ProcessUnits/WriteUnit", *stages}
    assert {gpu.hint(step) for step in gpu.steps().values()} == {"", DATAFLOW_GPU}


def test_every_step_runs_in_the_image(gpu: Described) -> None:
    environments = gpu.graph.components.environments.values()
    assert {api.DockerPayload.FromString(environment.payload).container_image for environment in environments} == {IMAGE}
    assert {image["containerImage"] for image in gpu.pool["sdkHarnessContainerImages"]} == {IMAGE}


def test_no_sound_crosses_a_shuffle(gpu: Described) -> None:
    """From the units' shuffle to the next one leads a single chain of plain steps, all in one environment: runners fuse it."""
    chain = [gpu.following(gpu.steps()["GroupUnits"])]
    while chain[-1].unique_name != "ProcessUnits/WriteUnit":
        chain.append(gpu.following(chain[-1]))
    assert len(chain) == len(build_stages(CorpusConfig())) + 2
    assert {step.spec.urn for step in chain} == {PARDO} and len({step.environment_id for step in chain}) == 1
    assert not any(api.ParDoPayload.FromString(step.spec.payload).side_inputs for step in chain)
    after = gpu.following(chain[-1])
    assert after.unique_name == "KeyResultsByRecording" and gpu.following(after).spec.urn == GROUP


def test_shuffles_are_few(gpu: Described) -> None:
    names = {name for name, step in gpu.steps().items() if step.spec.urn == GROUP}
    sums = {"SumBytes/GroupByKey", "SumUnits/CombinePerKey/GroupByKey"}
    of_recordings = {"ReshuffleRecordings", "GroupSameBytes", "GroupUnits", "GroupByRecording"}
    assert names - sums == of_recordings | {"GroupShards", "GroupPart", "GroupPrevious"}


def test_one_process_and_one_thread_share_a_gpu(gpu: Described) -> None:
    assert {"mine", "no_use_multiple_sdk_containers"} <= set(gpu.job["environment"]["experiments"])
    assert gpu.pool["numThreadsPerWorker"] == 1
    assert gpu.pool["machineType"] == "n2-standard-2" and gpu.pool["diskSizeGb"] == 100


def test_the_job_is_small(gpu: Described) -> None:
    """Dataflow takes 10 MB; what is listed does not travel in the job."""
    assert len(json.dumps(gpu.job)) + gpu.graph.ByteSize() < 500_000


def test_another_gpu_goes_to_the_same_steps(tmp_path: Path) -> None:
    t4 = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
    job = described(tmp_path, "cuda", f"--resource_hint=accelerator={t4}")
    assert {name.split("/")[0] for name, step in job.steps().items() if job.hint(step)} == {"ProcessUnits"}
    assert {job.hint(step) for step in job.steps().values()} == {"", t4}


def test_without_a_gpu_every_core_has_a_process(tmp_path: Path) -> None:
    job = described(tmp_path, "cpu")
    assert not any(job.hint(step) for step in job.steps().values())
    assert "no_use_multiple_sdk_containers" not in job.job["environment"]["experiments"]
    assert job.pool["machineType"] == "n2-highmem-4" and job.pool["numThreadsPerWorker"] == 1


@pytest.fixture
def service() -> Any:
    with dataflow_service() as running:
        yield running


def submit(service: Service, folder: Path, *more: str) -> str:
    """Runs a build's graph on the service until it ends, and returns the messages for the user."""
    asked = RunnerOptions(typed(folder, *more, endpoint=service.url))
    job = replace(job_of("cpu"), output=str(folder / "out"))
    events: list[BuildProgress] = []
    assert run_job(job, asked, PipelineOptions(asked.with_defaults(job.output, "cpu")), BuildObserver(events.append)) == JOB
    return "".join(event.message or "" for event in events)


def test_a_build_waits_for_its_job_and_names_it(service: Service, tmp_path: Path) -> None:
    assert JOB in submit(service, tmp_path)
    assert [job["name"] for job in service.jobs] == ["j"]


def test_a_build_does_not_wait_when_asked_not_to(service: Service, tmp_path: Path) -> None:
    service.state = "JOB_STATE_RUNNING"
    assert JOB in submit(service, tmp_path, "--no_wait_until_finish")
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    ("reported", "raised", "words"),
    [
        (CommitConflictError.of_release(1), CommitConflictError, "run the same command again"),
        (ModelError("load_recognizer: no such file"), ModelError, "no such file"),
        (None, WorkerLostError, "lost contact.*finished units are kept"),
    ],
)
def test_the_error_of_a_failed_job(
    service: Service, tmp_path: Path, reported: VoxbeamError | None, raised: type[Exception], words: str
) -> None:
    service.state, service.error = "JOB_STATE_FAILED", "The worker lost contact with the service."
    if reported is not None:
        report_error(Store(str(tmp_path / "out")), "r", reported)
    with pytest.raises(raised, match=f"(?s){words}"):
        submit(service, tmp_path)


@pytest.mark.parametrize(
    ("output", "more", "words"),
    [
        ("corpus", ["--sdk_container_image=i"], "cannot see"),
        ("gs://corpora/a", [], "deploy/dataflow/Dockerfile"),
    ],
)
def test_an_unusable_command_is_refused_at_once(
    output: str, more: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["build", "--input", str(DEMO), "--output", output, "--runner=DataflowRunner", *more]) == UNUSABLE
    assert words in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_a_flex_template_hands_the_job_over(tmp_path: Path) -> None:
    """The launcher's program, as in the image: the listing lies in the bucket, the job is described, nobody waits."""
    (tmp_path / "corpus.yaml").write_text("device: cuda\n")
    with s3_server(tmp_path / "s3") as s3:
        for name in ("speech/kennedy.flac", "corpus.yaml"):
            (s3.folder / "corpora" / name).parent.mkdir(exist_ok=True)
        shutil.copy(next((DEMO / "kennedy").rglob("*.flac")), s3.folder / "corpora" / "speech" / "kennedy.flac")
        shutil.copy(tmp_path / "corpus.yaml", s3.folder / "corpora" / "corpus.yaml")
        parameters = ["--input=s3://corpora/speech", "--output=s3://corpora/out", "--config=s3://corpora/corpus.yaml"]
        launched = subprocess.run(
            [sys.executable, LAUNCH, *parameters, f"--template_location={tmp_path}/job.json", *typed(tmp_path)],
            env={**os.environ, **s3.environment(), "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert launched.returncode == DONE, launched.stdout
        assert "Submitted: release 1 will be in s3://corpora/out" in " ".join(launched.stdout.split())
        assert list((s3.folder / "corpora" / "out" / "listings").iterdir())
        assert not (s3.folder / "corpora" / "out" / "releases").exists()
    graph = api.Pipeline.FromString((tmp_path / "stage" / "pipeline.pb").read_bytes())
    assert DATAFLOW_GPU.encode() in {e.resource_hints.get(HINT) for e in graph.components.environments.values()}


def test_the_template_asks_for_options_that_exist() -> None:
    template = json.loads((LAUNCH.parent / "metadata.json").read_text())
    names = [parameter["name"] for parameter in template["parameters"]]
    ours = {name.removeprefix("--") for option in build_command.params for name in option.opts}
    assert set(names) - ours == {"sdk_container_image", "resource_hint"} and len(set(names)) == len(names)
    required = {parameter["name"] for parameter in template["parameters"] if not parameter.get("isOptional")}
    assert required == {"input", "output", "sdk_container_image"}


def test_the_image_copies_what_is_there_and_has_the_pinned_beam() -> None:
    lines = (LAUNCH.parent / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]]
    assert len(copied) > 8 and all((ROOT / name).exists() for name in copied)
    assert f"FROM apache/beam_python3.11_sdk:{version('apache-beam')} AS beam" in lines
    allowed = {line[1:] for line in (LAUNCH.parent / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert {name.rsplit("/", 1)[0] if name.startswith("requirements/") else name for name in copied} == allowed
