"""Local workers: the processes of Beam's in-process runner, forked from `voxbeam.pipeline.runners.fork_server`.

They take the place of Beam's `--direct_running_mode=multi_processing`, and speak the same protocol with the runner.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms.environments import Environment
from google.protobuf import json_format, text_format

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.runners.fork_server import worker_context
from voxbeam.pipeline.runners.gpus import gpu_of
from voxbeam.schemas.errors import WorkerLostError

URN = "voxbeam:env:forked_python:v1"

_MOURN_EVERY_S = 0.2


@Environment.register_urn(URN, bytes)
class ForkedEnvironment(Environment):
    """Where Beam runs our functions: forked processes on this machine.

    `log` is where they write standard error; `gpus` are dealt to them, if there are any.
    """

    def __init__(self, log: str, gpus: Sequence[str] = (), **parts: Any) -> None:
        super().__init__(**parts)
        self.log, self.gpus = log, list(gpus)

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return URN, json.dumps({"log": self.log, "gpus": self.gpus}).encode()

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Any, artifacts: Any, resource_hints: Any, context: Any
    ) -> "ForkedEnvironment":
        parts = {"capabilities": capabilities, "artifacts": artifacts, "resource_hints": resource_hints}
        return ForkedEnvironment(**json.loads(payload), **parts)


@WorkerHandler.register_environment(URN, bytes)
class ForkedWorker(GrpcWorkerHandler):
    """The runner's side of one worker process."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        asked = json.loads(payload)
        self._log, self._gpus = asked["log"], asked["gpus"]
        self._stopping = False

    def start_worker(self) -> None:
        options = self.provision_info.provision_info.pipeline_options
        environment = {
            **os.environ,  # the fork server's own is that of its start
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
            ),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
        }
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpu_of(self.worker_id, self._gpus)
        self._process = worker_context().Process(target=run_worker, args=(environment, self._log))
        self._process.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_worker(self) -> None:
        self._stopping = True
        self._process.join()

    def _watch(self) -> None:
        """When the worker dies, answers in its place whatever the runner asks of it, then and later, with how it ended.

        Without this the runner would wait for ever. It does so even for an aborted request if the worker died before it could
        connect its data channel; an answer that is an error ends every wait.
        """
        self._process.join()
        answer = beam_fn_api_pb2.InstructionResponse(error=f"{WorkerLostError.__name__}: {_how_it_ended(self._process.exitcode)}")
        while not self._stopping:
            for request in list(self.control_conn._futures_by_id.values()):
                request.set(answer)
            time.sleep(_MOURN_EVERY_S)


def _how_it_ended(status: int | None) -> str:
    cause = f"was killed by signal {-status}" if status and status < 0 else f"ended with status {status}"
    return f"a worker process {cause}"


def run_worker(environment: dict[str, str], log: str) -> None:
    """A worker process, from start to end."""
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    pin_threads()
    sdk_worker_main.main([])
    os._exit(0)  # Beam's and the models' threads make the interpreter's own way out abort now and then


def _end_with_parent() -> None:
    """A driver that is killed takes its workers with it: nobody would take their results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
