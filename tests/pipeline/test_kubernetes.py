"""deploy/spark/kubernetes.yaml fits together: selectors, ports and names, without a cluster."""

from importlib.metadata import version
from typing import Any

import pytest
import yaml

from voxbeam.pipeline.runners.options import RunnerOptions

from tests.pipeline.test_build import ROOT

OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy" / "spark" / "kubernetes.yaml").read_text()))
DEPLOYMENTS = {o["metadata"]["name"]: o["spec"] for o in OBJECTS if o["kind"] == "Deployment"}
SERVICES = {o["metadata"]["name"]: o["spec"] for o in OBJECTS if o["kind"] == "Service"}


def containers(deployment: str) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in DEPLOYMENTS[deployment]["template"]["spec"]["containers"]}


def words(container: dict[str, Any]) -> list[str]:
    return [*container.get("command", []), *container.get("args", [])]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_selects_its_own_pods(name: str) -> None:
    labels = DEPLOYMENTS[name]["template"]["metadata"]["labels"]
    assert DEPLOYMENTS[name]["selector"]["matchLabels"].items() <= labels.items()
    assert all(isinstance(word, str) for container in containers(name).values() for word in words(container))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_leads_to_a_port_that_is_open(name: str) -> None:
    spec = SERVICES[name]
    (deployment,) = (d for d in DEPLOYMENTS.values() if d["template"]["metadata"]["labels"] == spec["selector"])
    opened = {p["containerPort"] for c in deployment["template"]["spec"]["containers"] for p in c.get("ports", [])}
    assert {port["targetPort"] for port in spec["ports"]} <= opened


def test_every_spark_worker_has_voxbeam_beside_it() -> None:
    """As many processes as Spark has cores, on the port that docs/spark.md names."""
    sidecar, worker = containers("spark-worker")["voxbeam"], containers("spark-worker")["worker"]
    assert "--service_port=50000" in words(sidecar) and sidecar["ports"] == [{"containerPort": 50000}]
    assert words(worker)[words(worker).index("--cores") + 1] == sidecar["resources"]["requests"]["cpu"]
    assert words(worker)[-1] in "".join(words(containers("job-server")["job-server"]))
    assert "--environment_config=localhost:50000" in (ROOT / "docs" / "spark.md").read_text()


def test_the_options_for_it_keep_the_external_workers() -> None:
    typed = ["--runner=PortableRunner", "--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    filled = RunnerOptions(typed).with_defaults("s3://corpora/a", "cpu")
    assert [option for option in filled if option.startswith("--environment_config")] == typed[2:]


def test_the_job_server_is_of_the_pinned_beam() -> None:
    assert containers("job-server")["job-server"]["image"].endswith(":" + version("apache-beam"))
