"""Core AI itself, on macOS 27 and later: one session for each compute unit, since one may be wrong where two are right.

It could not be run where it was written: it follows the Python interface of coreai-core 1.0.0b3, and is tested with a stand-in.
"""

import asyncio
import platform
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.coreai import LOADER_ERRORS, available, check_asset, import_coreai
from edgevit_deploy.formats.coreai.program import MAIN
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session

OLDEST_MACOS = 27


class LoadedAssetSession(Session):
    """Loads an asset by Core AI's library and runs its graph `main`; a subclass says on what."""

    packages: ClassVar[tuple[str, ...]] = ("coreai",)
    extra: ClassVar[str | None] = "coreai"
    memory_limited: ClassVar[bool] = False

    _loop: asyncio.AbstractEventLoop | None = None
    _opened: Any = None
    _function: Any = None

    @abstractmethod
    def _specialization(self) -> Any:
        """Return what the library is to compile the asset for; None where it has no choice."""

    def _load(self) -> None:
        self.threads = None  # Core AI chooses its own number
        check_asset(self.path)
        coreai = import_coreai()
        self._loop = asyncio.new_event_loop()
        try:
            opened = coreai.AIModelAsset.load(self.path).executable(self._specialization())
            model = self._loop.run_until_complete(opened.__aenter__())
            self._opened = opened
            self._function = model.load_function(MAIN)
            self._check_interface(self._function.desc)
        except RunError:
            self._unload()
            raise
        except LOADER_ERRORS as error:
            self._unload()
            raise RunError(f"{self.name} cannot load {self.path.name}: {first_line(error)}") from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._loop is not None
        from coreai.runtime import NDArray

        inputs = {name: NDArray(np.ascontiguousarray(array)) for name, array in feeds.items()}
        try:
            outputs = self._loop.run_until_complete(self._function(inputs=inputs))
        except LOADER_ERRORS as error:
            raise RunError(f"{self.name} cannot run {self.path.name}: {first_line(error)}") from error
        return {name: value.numpy() for name, value in outputs.items()}

    def _unload(self) -> None:
        self._function = None
        if self._opened is not None and self._loop is not None:
            self._loop.run_until_complete(self._opened.__aexit__(None, None, None))
        if self._loop is not None:
            self._loop.close()
        self._opened = self._loop = None

    def _check_interface(self, description: Any) -> None:
        found = {name: description.input_descriptor(name).dtype for name in description.input_names}
        expected = {spec.name: spec.dtype for spec in self.inputs}
        if found != expected:
            raise RunError(f"{self.path.name} takes {found}, its manifest says {expected}; convert again")
        if missing := {spec.name for spec in self.outputs} - set(description.output_names):
            raise RunError(f"{self.path.name} does not return {', '.join(sorted(missing))}; convert again")


class CoreAICPUSession(LoadedAssetSession):
    """Core AI on the CPU alone."""

    name: ClassVar[str] = "Core AI (CPU)"

    @classmethod
    def probe(cls) -> Availability:
        """Say whether this is a Mac with a system that has Core AI, and its Python library."""
        if not has_core_ai():
            fix = "copy the bundle to a Mac and run there: edgevit-deploy verify BUNDLE"
            return Availability(ok=False, detail=f"Core AI needs macOS {OLDEST_MACOS} or later", fix=fix)
        return available(*cls.packages, extra=cls.extra)

    def _specialization(self) -> Any:
        from coreai.runtime import SpecializationOptions

        return SpecializationOptions.cpu_only()


class CoreAIGPUSession(CoreAICPUSession):
    """Core AI that is told to prefer the GPU; it may still compute elsewhere what that cannot."""

    name: ClassVar[str] = "Core AI (GPU preferred)"
    unit: ClassVar[str] = "gpu"

    def _specialization(self) -> Any:
        from coreai.runtime import ComputeUnitKind, SpecializationOptions

        return SpecializationOptions.from_preferred_compute_unit_kind(getattr(ComputeUnitKind, self.unit)())


class CoreAINeuralEngineSession(CoreAIGPUSession):
    """Core AI that is told to prefer the Neural Engine; it may still compute elsewhere what that cannot."""

    name: ClassVar[str] = "Core AI (Neural Engine preferred)"
    unit: ClassVar[str] = "neural_engine"


def has_core_ai() -> bool:
    """Say whether this system has Core AI."""
    return platform.system() == "Darwin" and int(platform.mac_ver()[0].split(".")[0] or 0) >= OLDEST_MACOS
