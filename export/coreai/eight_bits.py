"""The precisions of the Core AI target that round to eight bits: by which scheme, how near to it, and what an app must know.

What is not rounded is computed in half precision, as in the fp16 file: the Neural Engine has no other. So is the emulation, with
the scales and tables, which are half-precision numbers.
"""

from collections.abc import Mapping

from edgevit_deploy.deploy.form import form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.exporter import Quantisation
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Precision

FORM = form_beside(__file__, "form-int8.toml")

_WEIGHTS = "same constants and arithmetic as the emulation, rounded after each operator"

EIGHT_BITS: Mapping[Precision, Quantisation] = {
    "w8": Quantisation(
        scheme=Scheme(activations="none", half=True),
        bound=NoiseMultiple(k=1.05, reason=_WEIGHTS),
        form=FORM,
    ),
    "palette8": Quantisation(
        scheme=Scheme(weights="palette8", activations="none", half=True),
        bound=NoiseMultiple(k=1.05, reason=_WEIGHTS),
        form=FORM,
    ),
    "int8": Quantisation(
        scheme=Scheme(activations="s8", symmetric=True, half=True),
        bound=NoiseMultiple(k=1.1, reason="inputs that fall to the other side of a step average out"),
        form=FORM,
    ),
}

_FLOAT = (
    "In half precision stay LocalProp, normalisations, softmax, GELU, products of attention, residual sums and all biases; input "
    "and output are float32."
)

NOTES: Mapping[Precision, tuple[str, ...]] = {
    "w8": (f"The rounded weights have a scale for each output channel and become half precision before they multiply. {_FLOAT}",),
    "palette8": (f"The weights of each operator have a table of 256 half-precision values. {_FLOAT}",),
    "int8": (
        f"Each rounded input has one scale, and each rounded weight a scale for each output channel. {_FLOAT}",
        "Core AI decides whether it multiplies integers; that was not measured. w8 and palette8 are as small and lose less.",
    ),
}
