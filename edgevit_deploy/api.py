"""The library: what the command line does, as functions of plain arguments with results that can be pickled.

    import edgevit_deploy

    conversion = edgevit_deploy.convert(target, model="edgevit_xxs", output="build/x")
    assert conversion.report.ok

Commands, notebooks and workers on other machines call these. Every argument means what the flag of the same name means; errors
are those of `edgevit_deploy.errors`, and a failed comparison is a result.
"""

from collections.abc import Sequence

from edgevit_deploy.calibration.choice import NO_CALIBRATION, CalibrationChoice, JudgeChoice
from edgevit_deploy.data.photographs import pictures_of
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.every_target import Attempts, Network, Rounding, check_rounding, convert_network, place_of
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy.library import evaluate as evaluate
from edgevit_deploy.measure.detection.library import evaluate_detection as evaluate_detection
from edgevit_deploy.measure.energy.library import energy as energy
from edgevit_deploy.measure.library import bench as bench
from edgevit_deploy.measure.segmentation.library import evaluate_segmentation as evaluate_segmentation
from edgevit_deploy.measure.trained_ablations import train_ablations as train_ablations
from edgevit_deploy.model import loading
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.pipeline import Conversion
from edgevit_deploy.pipeline import convert as convert_on
from edgevit_deploy.request import FileRequest, read_image_size, read_options
from edgevit_deploy.spec import Graph, InputKind, Precision, PreprocessChoice, Size, Task
from edgevit_deploy.train.library import train_model as train_model
from edgevit_deploy.train.library import train_segmentation as train_segmentation
from edgevit_deploy.verification.library import verify as verify
from edgevit_deploy.workbench import open_workbench
from edgevit_deploy.workbench.results import Progress, silent


def load_model(
    model: str | None = None,
    *,
    weights: StrPath | None = None,
    num_classes: int | None = None,
    image_size: str | int | Size | None = None,
    labels: StrPath | None = None,
    seed: int | None = None,
    preprocess: PreprocessChoice | None = None,
    task: Task = "classify",
) -> LoadedModel:
    """Build a network and fill it from a checkpoint or from a seed.

    Args:
        model: published variant (`edgevit_xxs`, `edgevit_xs`, `edgevit_s`); with `weights` it is read from the file.
        weights: checkpoint (.pth, .pt, .bin, .safetensors); without it the weights are random.
        num_classes: of the head; with `weights` it is read from the file.
        image_size: side, HEIGHTxWIDTH or (height, width) in pixels; multiples of 32.
        labels: text file with one class name a line.
        seed: of the random weights; 0 when None.
        preprocess: what is to be different from what the checkpoint tells, or from what is assumed where it does not.
        task: what the network is for; `segment` and `detect` have a head on the feature maps.

    Raises:
        UsageError: unreadable checkpoint, unknown name, or a contradiction between the file and the arguments.
    """
    request = FileRequest(image_size=None if image_size is None else read_image_size(image_size), task=task)
    return loading.load_model(_origin(model, weights, num_classes, request, labels, seed, preprocess))


def convert(
    target: str,
    *,
    model: str | None = None,
    weights: StrPath | None = None,
    num_classes: int | None = None,
    labels: StrPath | None = None,
    seed: int | None = None,
    preprocess: PreprocessChoice | None = None,
    image_size: str | int | Size | None = None,
    batch: str | int = 1,
    precision: Precision | None = None,
    graph: Graph = "deploy",
    form: Form | StrPath | None = None,
    input: InputKind = "tensor",  # noqa: A002 - the flag's name
    task: Task = "classify",
    options: object | None = None,
    calibration: CalibrationChoice | None = None,
    judge: JudgeChoice | None = None,
    images: StrPath | None = None,
    strict: bool = False,
    output: StrPath | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Convert one model to one target, judge the file and write its bundle to `<output>/<target>-<precision>`.

    Args:
        target: registered name; `edgevit_deploy.targets()` lists them.
        model: as for `load_model`, and so `weights`, `num_classes`, `labels`, `seed` and `preprocess`.
        weights: see `model`.
        num_classes: see `model`.
        labels: see `model`.
        seed: see `model`.
        preprocess: see `model`.
        image_size: as for `load_model`, or `dynamic`.
        batch: images a run, or `dynamic`.
        precision: of the file; the target's first when None.
        graph: deploy is the published graph rewritten exactly into the operators that the target runs best.
        form: of the deploy graph, or a file with one, as `tune` writes it; the target's own when None.
        input: tensor takes normalised float32; image and uint8 take 0 to 255, as float32 or bytes, and normalise in the model.
        task: what the network is asked for.
        options: the target's own: a mapping of names to values, or its options dataclass.
        calibration: where the ranges of a quantised precision come from.
        judge: on which pictures a quantised file must decide as the network does; its decisions are not judged when None.
        images: folder of photographs, or tree of labelled ones: all are read first, and at most 32 join the parity probes.
        strict: refuse a folder of photographs in which something is broken, hidden or no picture.
        output: folder for the bundle; `build/<variant>` when None.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments, no picture that can be read, or a place that cannot be written.
        MissingError: the target's converter is not installed.
        ExportError: the converter failed.
        RunError: a runtime of this host could not load or run the file.
    """
    request = FileRequest(image_size=image_size, batch=batch, precision=precision, graph=graph, form=form, takes=input, task=task)
    exporter = THIS_HOST.require_exporter(target)
    own = read_options(exporter, options)
    request.chosen_form()  # what is wrong with it is said before anything is loaded
    calibration, photographs = calibration or NO_CALIBRATION, pictures_of(optional_path(images), strict=strict)
    with progress(f"{target} {precision or next(iter(exporter.precisions))}") as step:
        step("loading the model")
        loaded = loading.load_model(_origin(model, weights, num_classes, request, labels, seed, preprocess))
        plan = request.plan(exporter, loaded, own)
        exporter.refuse(plan)
        check_rounding(plan, calibration, judge)
        with open_workbench(loaded, THIS_HOST, step, photographs, calibration, judge) as workbench:
            return convert_on(workbench, plan, place_of(optional_path(output), plan))


def convert_all(
    *,
    model: str | None = None,
    weights: StrPath | None = None,
    num_classes: int | None = None,
    labels: StrPath | None = None,
    seed: int | None = None,
    preprocess: PreprocessChoice | None = None,
    request: FileRequest | None = None,
    targets: Sequence[str] | None = None,
    calibration: CalibrationChoice | None = None,
    judge: JudgeChoice | None = None,
    images: StrPath | None = None,
    strict: bool = False,
    output: StrPath | None = None,
    progress: Progress = silent,
) -> Attempts:
    """Convert to every target that can run here, in the precision that `request` names, or in all of them.

    Quantised precisions are among all of them where there is a calibration.

    Args:
        model: as for `load_model`, and so `weights`, `num_classes`, `labels`, `seed` and `preprocess`.
        weights: see `model`.
        num_classes: see `model`.
        labels: see `model`.
        seed: see `model`.
        preprocess: see `model`.
        request: what is asked of every file; the defaults when None.
        targets: only these; all that are registered when None.
        calibration: as for `convert`, and so `judge`.
        judge: see `calibration`.
        images: folder of photographs, or tree of labelled ones: all are read first, and at most 32 join the parity probes.
        strict: refuse a folder of photographs in which something is broken, hidden or no picture.
        output: folder for the bundles; `build/<variant>` when None.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments that are wrong for every target, no picture that can be read, or no place to write.
    """
    request = request or FileRequest()
    origin = _origin(model, weights, num_classes, request, labels, seed, preprocess)
    network = Network(origin=origin, output=optional_path(output))
    rounding = Rounding(calibration=calibration or NO_CALIBRATION, judge=judge)
    photographs = pictures_of(optional_path(images), strict=strict)
    return convert_network(network, request, targets=targets, photographs=photographs, rounding=rounding, progress=progress)


def targets() -> tuple[str, ...]:
    """Return the names of the registered targets."""
    return THIS_HOST.targets()


def _origin(
    model: str | None,
    weights: StrPath | None,
    num_classes: int | None,
    request: FileRequest,
    labels: StrPath | None,
    seed: int | None,
    preprocess: PreprocessChoice | None,
) -> ModelOrigin:
    return ModelOrigin(
        model=model,
        weights=optional_path(weights),
        num_classes=num_classes,
        image_size=request.fixed_size(),
        labels=optional_path(labels),
        seed=seed,
        preprocess=preprocess,
        task=request.task,
    )
