"""The Core AI runtime that Apple ships inside its Python library, on the CPU of any platform that the library is built for.

The saved asset is lowered by Core AI's own compiler and computed by its own portable kernels. That is Apple's reading of the
file, but no device: delegates, the GPU and the Neural Engine have no part in it, and its speed says nothing of theirs. In half
precision these kernels also sum in half, which costs 3 to 5 times what rounding every result does.
"""

from typing import ClassVar

from edgevit_deploy.formats.coreai import available
from edgevit_deploy.registry import Availability
from runtimes.coreai import LoadedAssetSession, has_core_ai


class PackagedCoreAISession(LoadedAssetSession):
    """Runs a saved asset by the runtime of the Python library; right numbers, no device's own arithmetic."""

    name: ClassVar[str] = "Core AI packaged runtime (CPU)"
    executes_target: ClassVar[bool] = False
    memory_limited: ClassVar[bool] = True  # no driver of a GPU has a part in it

    @classmethod
    def probe(cls) -> Availability:
        """Say whether the library is there, and would use the runtime in it: where the system has Core AI, it uses that."""
        if has_core_ai():
            return Availability(ok=False, detail="this system has Core AI itself, which the library uses in its place")
        return available(*cls.packages, extra=cls.extra)

    def _specialization(self) -> None:
        return None
