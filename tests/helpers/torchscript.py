"""Small lite-interpreter files for tests."""

from export.torchscript import TorchScriptExporter, TorchScriptOptions
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[TorchScriptOptions] = SmallTarget(exporter=TorchScriptExporter())
