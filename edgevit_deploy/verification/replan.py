"""The conversion that made a bundle, decided again from its manifest."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.scheme import RoundingChoices
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.spec import task_of


def plan_of(manifest: Manifest, model: LoadedModel, exporter: Exporter[Any], batch: int | None = None) -> ExportPlan[Any]:
    """Return the conversion that made a bundle, for one image size; a file named in its options (a cache) is left out.

    Args:
        manifest: of the bundle.
        model: of the same variant, at the image size that is wanted.
        exporter: of the bundle's target.
        batch: images a run; what the bundle was made with when None.

    Raises:
        UsageError: options, a form or a rounding that this version does not have.
    """
    conversion = manifest.conversion
    return exporter.plan(
        model.spec,
        precision=manifest.precision,
        batch=conversion.batch if batch is None else batch,
        graph=conversion.graph,
        form=form_of(manifest),
        rounding=rounding_of(manifest, exporter),
        takes=conversion.takes,
        task=task_of(conversion.returns),
        options=options_of(manifest, exporter),
    )


def rounding_of(manifest: Manifest, exporter: Exporter[Any]) -> RoundingChoices:
    """Return what of a bundle's rounding is otherwise than the target's own; nothing of one in floating point.

    Raises:
        UsageError: as `options_of`.
    """
    own = exporter.quantisation(manifest.precision, options_of(manifest, exporter))
    return manifest.quantisation.scheme.differences(own.scheme) if own and manifest.quantisation else {}


def plan_of_float32(manifest: Manifest, model: LoadedModel, exporter: Exporter[Any]) -> ExportPlan[Any]:
    """Return the conversion of a bundle's network to float32, as its target does it by itself, with the bundle's ends and sizes.

    Args:
        manifest: of the bundle.
        model: of the same weights.
        exporter: of the bundle's target.
    """
    conversion = manifest.conversion
    return exporter.plan(
        model.spec,
        precision="fp32",
        batch=conversion.batch,
        dynamic_size=conversion.image_size == "dynamic",
        takes=conversion.takes,
        task=task_of(conversion.returns),
    )


def options_of(manifest: Manifest, exporter: Exporter[Any]) -> Any:
    """Return the target's own options of a bundle; a file named in them (a cache) is left out.

    Raises:
        UsageError: options that this version does not have.
    """
    kinds = get_type_hints(exporter.options_type)
    own = {
        name: manifest.options[name] for name, kind in kinds.items() if name in manifest.options and Path not in get_args(kind)
    }
    try:
        return msgspec.convert(own, type=exporter.options_type)
    except msgspec.ValidationError as error:
        raise UsageError(f"the manifest's options are not this version's ({error}); convert again") from error


def form_of(manifest: Manifest) -> Form:
    """Return the form in which a bundle's deploy graph was written; the default one for an original graph.

    Raises:
        UsageError: parts or choices that this version does not have.
    """
    return Form.read(manifest.conversion.form or {})
