"""ONNX Runtime's own mobile usability checker: what the providers of a phone would take of a file.

The checker ships with ONNX Runtime. It decides by operator type, fixed shapes and rank, and forms partitions as the runtime does;
limits inside an operator (its "caveats") it does not look at, so what it accepts is the most that a provider may take.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.spec import Placement

BY_TYPE = (
    "ONNX Runtime's mobile checker decides by operator type, fixed shapes and rank; limits inside an operator it does not check, "
    "so this is the most that a provider takes."
)


def check_mobile(path: Path) -> dict[str, Placement]:
    """Ask the checker about NNAPI and both kinds of Core ML models: provider -> what it takes of the file.

    Raises:
        ExportError: the checker cannot read the file.
    """
    from onnxruntime.tools.mobile_helpers import usability_checker as checker
    from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, optimize_model

    checks: dict[str, Callable[..., Any]] = {
        "NNAPI": checker.check_nnapi_partitions,
        "Core ML NeuralNetwork": partial(
            checker.check_coreml_partitions, config_filename="coreml_supported_neuralnetwork_ops.md"
        ),
        "Core ML ML Program": partial(checker.check_coreml_partitions, config_filename="coreml_supported_mlprogram_ops.md"),
    }
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with TemporaryDirectory() as scratch:
            optimised = Path(scratch) / path.name
            optimize_model(path, optimised, use_external_initializers=True)  # constants folded, as when an app loads it
            model = ModelProtoWithShapeInfo(optimised).model_with_shape_info
            return {name: _placement(model, check) for name, check in checks.items()}
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        raise ExportError(f"ONNX Runtime's mobile checker cannot read {path.name}: {first_line(error)}") from error
    finally:
        logging.disable(disabled)


def _placement(model: Any, check: Callable[..., Any]) -> Placement:
    info = check(model, require_fixed_input_sizes=True)
    outside = Counter(node.op_type for node in model.graph.node)
    outside.subtract(node.op_type for group in info.supported_groups for node in group)
    left = {kind: count for kind, count in sorted(outside.items()) if count}
    return Placement(partitions=info.num_partitions, outside=left, note=BY_TYPE)
