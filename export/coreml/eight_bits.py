"""The precisions of the Core ML target that round to eight bits: by which scheme, how near to it, and what an app must know.

What is not rounded is computed in half precision, as in the fp16 file: the Neural Engine has no other. So is the emulation, with
the scales and tables, which are half-precision numbers (that costs 0.1 dB or less); against one in float32 a file with tables
looks a quarter worse than it is. The network is written by the core, not by coremltools' own quantisers: the one for activations
runs the model, which takes a Mac, and those for weights round to steps of their own.
"""

from collections.abc import Mapping

from edgevit_deploy.deploy.form import form_beside
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.exporter import Quantisation
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.spec import Precision

FORM = form_beside(__file__, "form-int8.toml")

_WEIGHTS = (
    "same constants and arithmetic as the emulation, rounded after fused operations: 0.99 to 1.01 seen on 32 to 500 pictures"
)

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
        bound=NoiseMultiple(
            k=1.1, reason="inputs that fall to the other side of a step average out: 0.98 to 1.02 seen on 32 to 500 pictures"
        ),
        form=FORM,
    ),
}

FEWER_BITS = ("w4", "w6", "int4", "palette4", "palette6")
FEWER_BITS_LOSE = (
    "coreml has no weights of fewer than 8 bits: without training them, tables of 6 bits leave 18.8 dB and of 4 bits 11 dB of a "
    "random network's outputs where 8 bits leave 32 (of a trained one 28, 19 and 44); use --precision palette8"
)

_FLOAT = (
    "In half precision stay LocalProp, normalisations, softmax, GELU, products of attention, residual sums and all biases; input "
    "and output are float32."
)
_AS_FP16 = f"They become half precision before they are multiplied, so the arithmetic is that of the fp16 file. {_FLOAT}"

NOTES: Mapping[Precision, tuple[str, ...]] = {
    "w8": (f"The rounded weights have a scale for each output channel. {_AS_FP16}",),
    "palette8": (f"The weights of each operator have a table of 256 half-precision values. {_AS_FP16}",),
    "int8": (
        f"Each rounded input has one scale, and each rounded weight a scale for each output channel. {_FLOAT}",
        "Core ML decides whether it multiplies integers. Apple documents that as faster on the Neural Engine from A17 Pro and M4 "
        "on, and as slower on the CPU and some GPUs; neither was measured here. w8 and palette8 are as small and lose less.",
    ),
}
