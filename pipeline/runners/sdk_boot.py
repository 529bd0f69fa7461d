"""SDK boot: what Spark starts for every worker process. It gets the endpoints from the runner and becomes a supervised worker.

Beam's own boot program is a Go binary inside its container images, and in no wheel. This one is for workers whose machine has
voxbeam installed: `--environment_type=PROCESS --environment_config='{"command": "/path/to/venv/bin/voxbeam-boot"}'`.
"""

import argparse
import os
import sys
from typing import Any, NoReturn

import grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from google.protobuf import json_format, text_format


class _WorkerIdInterceptor(grpc.UnaryUnaryClientInterceptor):
    """Adds the worker's id to requests to the runner."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or []), ("worker_id", self.worker_id)]
        return continuation(details._replace(metadata=metadata), request)


def main() -> NoReturn:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    arguments, _ = parser.parse_known_args()
    channel = grpc.insecure_channel(arguments.provision_endpoint)
    stub = provision_grpc.ProvisionServiceStub(grpc.intercept_channel(channel, _WorkerIdInterceptor(arguments.id)))
    info = stub.GetProvisionInfo(provision.GetProvisionInfoRequest()).info
    environment = {
        **os.environ,
        "WORKER_ID": arguments.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    os.execve(sys.executable, [sys.executable, "-P", "-m", "voxbeam.pipeline.runners.supervisor"], environment)


if __name__ == "__main__":
    main()
