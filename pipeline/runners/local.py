"""Local workers: the processes of Beam's in-process runner, forked from `voxbeam.pipeline.runners.fork_server`.

They replace Beam's `--direct_running_mode=multi_processing` and use the same protocol with the runner.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms.environments import Environment
from google.protobuf import json_format, text_format

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.runners.fork_server import start_process
from voxbeam.pipeline.runners.gpus import assign_gpu

URN = "voxbeam:env:forked_python:v1"
_DEAD_WORKER_POLL_S = 0.2
_lost_workers: defaultdict[str, list[str]] = defaultdict(list)
"""environment → how each worker ended that was lost; the runner and its handlers are in this process"""


@Environment.register_urn(URN, bytes)
class ForkedEnvironment(Environment):
    """Where Beam runs our functions: forked processes on this machine.

    `log` is the file for their standard error; `gpus` are assigned to them in turn, if there are any.
    """

    def __init__(self, log: str, gpus: Sequence[str] = (), name: str | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self.log, self.gpus = log, list(gpus)
        self.name = name or uuid.uuid4().hex

    @property
    def lost_workers(self) -> list[str]:
        """How each worker ended that died before its work was done, in a sentence."""
        return _lost_workers[self.name]

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return URN, json.dumps({"log": self.log, "gpus": self.gpus, "name": self.name}).encode()

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
        environment = json.loads(payload)
        self._log, self._gpus, self._environment = environment["log"], environment["gpus"], environment["name"]
        self._stopping = False

    def start_worker(self) -> None:
        options = self.provision_info.provision_info.pipeline_options
        environment = {
            **os.environ,  # the fork server has the environment of its own start
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                endpoints_pb2.ApiServiceDescriptor(url=self.control_address)
            ),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
        }
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = assign_gpu(self.worker_id, self._gpus)
        self._process = start_process(run_worker, (environment, self._log))
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_worker(self) -> None:
        """Waits for the worker to end. The runner calls this after a failure too: a killed worker is noted here at the latest."""
        self._stopping = True
        self._process.join()
        if (self._process.exitcode or 0) < 0:
            self._note_loss()

    def _watch(self) -> None:
        """When the worker dies, answers every request of the runner to it, then and later, with how it ended.

        Without this the runner would wait forever. It does so even for an aborted request if the worker died before it could
        connect its data channel; an answer that is an error ends every wait.
        """
        self._process.join()
        if not self._stopping:
            self._note_loss()
        answer = beam_fn_api_pb2.InstructionResponse(error=_exit_reason(self._process.exitcode))
        while not self._stopping:
            for request in list(self.control_conn._futures_by_id.values()):
                request.set(answer)
            time.sleep(_DEAD_WORKER_POLL_S)

    def _note_loss(self) -> None:
        _lost_workers[self._environment].append(_exit_reason(self._process.exitcode))


def _exit_reason(status: int | None) -> str:
    cause = f"was killed by signal {-status}" if status and status < 0 else f"ended with status {status}"
    return f"a worker process {cause}"


def run_worker(environment: dict[str, str], log: str) -> None:
    """A worker process, from start to end."""
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the driver ends its workers
    threading.Thread(target=_exit_with_driver, daemon=True).start()
    os.environ.update(environment)
    pin_threads()
    sdk_worker_main.main([])
    os._exit(0)  # with threads of Beam and the models alive, an ordinary exit sometimes aborts


def _exit_with_driver() -> None:
    """Ends this worker when the driver ends, even if it is killed: nothing would use the worker's results."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
