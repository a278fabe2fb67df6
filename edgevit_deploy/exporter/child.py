"""Exporters in a worker process: converters are native code that may abort, hang or take the memory, and print as they like.

One worker serves all conversions of a run one after the other, so that the converters are imported once; after a crash the next
conversion gets a fresh one. The network travels down its pipe, since a disk may be full, and only what was written comes back.
What an exporter reads of a written file, it reads there too: the file may be somebody else's, and the reader native code.
"""

import io
import os
import pickle
import threading
import traceback
import types
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import DeployError, ExportError, RunError, UsageError, first_line
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.exporter.answers import STORED, pack_stored, unpack_description, unpack_stored
from edgevit_deploy.process.child import ChildFailure
from edgevit_deploy.process.memory import physical_memory_bytes
from edgevit_deploy.process.messages import describe, receive, receive_arrays, send
from edgevit_deploy.process.scratch import scratch_beside, temporary_files_in
from edgevit_deploy.process.worker import Worker
from edgevit_deploy.process.worker_side import take_over_pipes
from edgevit_deploy.registry import load_class
from edgevit_deploy.session import Array
from edgevit_deploy.spec import TensorSpec
from edgevit_deploy.spec.description import Description

if TYPE_CHECKING:
    from torch import nn

SERVE = "from edgevit_deploy.exporter.child import serve; serve()"
EXPORT_TIMEOUT_S = 3600.0
"""A conversion takes seconds, the slowest converter minutes on a busy machine; more than this is a hang."""

READ_TIMEOUT_S = 600.0
"""Reading a written file back takes seconds, with the import of the library that reads it."""

Task = Literal["export", "stored", "description"]
"""What a worker is asked for: the methods of an exporter that touch files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done by which exporter ("module:Class") and where; a pickled network and plan, or an artifact, follow."""

    task: Task
    exporter: str
    folder: bytes  # a name need not be UTF-8, JSON is
    arrays: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was written, its paths as text; what was read; or the error, by the name of its class, with the system's number."""

    artifact: dict[str, Any] | None = None
    description: dict[str, Any] | None = None
    error: str = ""
    kind: str = ""
    trace: str = ""
    errno: int | None = None
    arrays: tuple[TensorSpec, ...] = ()


class ExportWorkers:
    """The one worker that exports at present; `close` ends it. Threads take turns."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._turn = threading.RLock()

    def export(self, location: str, module: "nn.Module", plan: ExportPlan[Any], folder: Path) -> Artifact:
        """Let the exporter of that location write into a folder, in the worker.

        Raises:
            DeployError: what the exporter raised there.
            OSError: the system refused something; `errno` says what.
            ExportError: the worker crashed, hung or ran out of memory.
        """
        failed = ExportError(f"{plan.target} could not be written")
        done, _ = self._ask("export", location, folder, _packed(module, plan), (), failed)
        assert done.artifact is not None
        return read_artifact(done.artifact, folder)

    def stored(self, location: str, artifact: Artifact) -> Stored:
        """Let the exporter of that location read by what a file rounds, in the worker.

        Raises:
            DeployError: what the exporter raised there.
            OSError: the system refused something.
            RunError: the worker crashed, hung or ran out of memory, or what it said is nothing of the kind.
        """
        _, arrays = self._read("stored", location, artifact, STORED)
        return unpack_stored(arrays)

    def description(self, location: str, artifact: Artifact) -> Description | None:
        """Let the exporter of that location read what a file says of its pixels and classes, in the worker.

        Raises:
            DeployError: what the exporter raised there.
            OSError: the system refused something.
            RunError: the worker crashed, hung or ran out of memory, or what it said is nothing of the kind.
        """
        done, _ = self._read("description", location, artifact, ())
        return unpack_description(done.description)

    def _read(
        self, task: Task, location: str, artifact: Artifact, outputs: tuple[TensorSpec, ...]
    ) -> tuple[Done, dict[str, Array]]:
        folder = artifact.path.absolute().parent
        content = {"artifact": np.frombuffer(pickle.dumps(_seen_from(artifact, folder)), np.uint8)}
        return self._ask(task, location, folder, content, outputs, RunError(f"{artifact.path.name} could not be read"))

    def _ask(
        self,
        task: Task,
        location: str,
        folder: Path,
        content: dict[str, Array],
        outputs: tuple[TensorSpec, ...],
        failed: ExportError | RunError,
    ) -> tuple[Done, dict[str, Array]]:
        """Ask the worker; `failed` says what did not work where nobody there could."""
        job = Job(task=task, exporter=location, folder=os.fsencode(folder.absolute()), arrays=describe(content))
        with self._turn:
            worker = self._ready()
            try:
                timeout_s = EXPORT_TIMEOUT_S if task == "export" else READ_TIMEOUT_S
                done, arrays = worker.ask(job, list(content.values()), Done, outputs, timeout_s)
            except ChildFailure as failure:
                self.close()
                raise type(failed)(f"{failed}: {failure}") from None
            except BaseException:
                self.close()
                raise
        if done.error:
            raise _error_of(done, worker, failed)
        return done, arrays

    def close(self) -> None:
        """End the worker, if there is one; the next export starts another."""
        with self._turn:
            worker, self._worker = self._worker, None
            if worker is not None:
                worker.close()

    def _ready(self) -> Worker:
        if self._worker is not None and not self._worker.alive:
            self.close()
        if self._worker is None:
            try:
                self._worker = Worker(SERVE, physical_memory_bytes())
            except ChildFailure as failure:
                raise ExportError(f"no converter can be started: {failure}") from None
        return self._worker


WORKERS = ExportWorkers()


@cache
def isolated(exporter_type: type[Exporter[Any]], location: str) -> type[Exporter[Any]]:
    """Return an exporter that says what another one says, and exports and reads files in the worker.

    Args:
        exporter_type: the exporter to run there.
        location: of its class, as "module:Class"; the worker imports it from there.
    """

    def export(self: Exporter[Any], module: "nn.Module", plan: ExportPlan[Any], folder: Path) -> Artifact:
        self.refuse(plan)
        return WORKERS.export(location, module, plan, folder)

    def stored(_: Exporter[Any], artifact: Artifact) -> Stored:
        return WORKERS.stored(location, artifact)

    def description(_: Exporter[Any], artifact: Artifact) -> Description | None:
        return WORKERS.description(location, artifact)

    def fill(body: dict[str, Any]) -> None:
        body.update(__module__=exporter_type.__module__, __doc__=exporter_type.__doc__, export=export)
        if exporter_type.stored is not Exporter.stored:
            body.update(stored=stored)
        if exporter_type.description is not Exporter.description:
            body.update(description=description)

    return types.new_class(exporter_type.__name__, (exporter_type,), exec_body=fill)


def serve() -> None:
    """Be the worker: export and read until the parent closes the pipe."""
    jobs, answers = take_over_pipes()
    with ExitStack(), suppress(EOFError, BrokenPipeError):
        while True:
            job = receive(jobs, Job)
            content = receive_arrays(jobs, job.arrays)
            done, arrays = perform(job, content)
            send(answers, done, arrays)


def perform(job: Job, content: dict[str, Array]) -> tuple[Done, list[Array]]:
    """Do one job; whatever is raised is the answer."""
    try:
        os.chdir(os.fsdecode(job.folder))  # libraries take names in UTF-8 only
        exporter: Exporter[Any] = load_class(job.exporter)()
        if job.task == "export":
            with scratch_beside(Path()) as scratch, temporary_files_in(scratch):
                module, plan = _unpacked(content)
                artifact = exporter.export(module, plan, Path())
            return Done(artifact=msgspec.to_builtins(artifact, enc_hook=str)), []
        artifact = pickle.loads(content["artifact"].tobytes())  # the parent's own
        if job.task == "description":
            said = exporter.description(artifact)
            return Done(description=None if said is None else msgspec.to_builtins(said)), []
        arrays = pack_stored(exporter.stored(artifact))
        return Done(arrays=describe(arrays)), list(arrays.values())
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer
        text = str(error) if isinstance(error, DeployError) else f"{type(error).__name__}: {error}"
        return Done(
            error=text,
            kind=type(error).__name__,
            trace=traceback.format_exc(),
            errno=getattr(error, "errno", None),
        ), []


def read_artifact(document: dict[str, Any], folder: Path) -> Artifact:
    """Return an artifact from what the worker, which was in its folder, says of it."""
    return _inside(msgspec.convert(document, Artifact, dec_hook=lambda kind, value: kind(value)), folder)


def _inside(artifact: Artifact, folder: Path) -> Artifact:
    origin = artifact.built_from
    return replace(artifact, path=folder / artifact.path, built_from=None if origin is None else _inside(origin, folder))


def _seen_from(artifact: Artifact, folder: Path) -> Artifact:
    """Return an artifact for a process that is in a folder, where it has another path than here."""
    path, origin = artifact.path.absolute(), artifact.built_from
    return replace(
        artifact,
        path=path.relative_to(folder) if path.is_relative_to(folder) else path,
        built_from=None if origin is None else _seen_from(origin, folder),
    )


def _error_of(done: Done, worker: Worker, failed: ExportError | RunError) -> Exception:
    """Return the error that was raised in the worker: one of ours, the system's, or what a library raised, with its traceback."""
    for kind in (*DeployError.__subclasses__(), *UsageError.__subclasses__()):
        if kind.__name__ == done.kind:
            return kind(done.error)
    if done.errno is not None:
        return OSError(done.errno, done.error)
    said = "the converter failed" if isinstance(failed, ExportError) else str(failed)
    failure = type(failed)(f"{said}: {worker.with_limit(first_line(Exception(done.error)))}")
    failure.add_note(done.trace)
    return failure


def _packed(module: "nn.Module", plan: ExportPlan[Any]) -> dict[str, Any]:
    import torch

    buffer = io.BytesIO()
    try:
        torch.save((module, plan), buffer)
    except (AttributeError, TypeError, pickle.PicklingError) as error:  # hooks of somebody's own, for example
        raise ExportError(f"the network cannot be sent to the converter's process: {first_line(error)}") from error
    return {"network and plan": np.frombuffer(buffer.getbuffer(), np.uint8)}


def _unpacked(content: dict[str, Any]) -> "tuple[nn.Module, ExportPlan[Any]]":
    import torch

    from edgevit_deploy.model.peers import make_torchvision_importable

    make_torchvision_importable()  # the network may be a peer, whose classes are timm's
    (packed,) = content.values()
    module, plan = torch.load(io.BytesIO(packed.tobytes()), weights_only=False)  # the parent's own
    return module, plan
