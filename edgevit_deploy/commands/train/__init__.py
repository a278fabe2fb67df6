"""`convert.py train`: from a folder of labelled pictures to a checkpoint that every other command takes as it is."""

from typing import Annotated, Any

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress
from edgevit_deploy.commands.flags import PreprocessFlags
from edgevit_deploy.commands.pages import check_folder
from edgevit_deploy.commands.train.flags import RecipeFlags, TrainFlags, choices, rounding_of
from edgevit_deploy.commands.train.segmentation import train_on_masks

INTERRUPTED = "interrupted; to go on from the last saved state, add --resume to the same command"


def train(
    *,
    flags: Annotated[TrainFlags, Parameter(name="*")],
    preprocess_flags: Annotated[PreprocessFlags, Parameter(name="*")] = PreprocessFlags(),  # noqa: B008 - frozen
    recipe_flags: Annotated[Any, Parameter(name="*")] = RecipeFlags(),  # noqa: B008 - frozen
) -> int:
    """Train or fine-tune an EdgeViT on a folder of labelled pictures, or with --task segment on pictures with masks.

    Everything goes to the folder of the run: best.safetensors, which every other command takes as it is, last.safetensors,
    metrics.jsonl, recipe.json, a plot, and the state from which --resume goes on. To use many GPUs or machines:
    torchrun --nproc-per-node N -m edgevit_deploy.train --data DIR ...

    Args:
        flags: Where the pictures are, and how to train.
        preprocess_flags: How a picture becomes an input; the checkpoint records it.
        recipe_flags: What differs from the preset.
    """
    from edgevit_deploy.api import train_model
    from edgevit_deploy.commands.train.view import document, print_run, say_epoch, write_plot
    from edgevit_deploy.train.library import named_recipe
    from edgevit_deploy.train.recipe import changed
    from edgevit_deploy.train.world import SaidElsewhereError, launched
    from edgevit_deploy.workbench.results import silent

    check_folder(flags.output)
    if flags.task == "segment":
        return train_on_masks(flags, preprocess_flags.choice(), choices(recipe_flags))
    if flags.ablations:
        return _train_ablations(flags, preprocess_flags, recipe_flags)
    rounding = rounding_of(flags)
    started = launched()
    speaks = started is None or started.rank == 0
    try:
        run = train_model(
            flags.data,
            recipe=changed(
                named_recipe(flags.recipe, finetunes=flags.finetune is not None, rounds=rounding is not None),
                choices(recipe_flags),
            ),
            model=flags.model,
            finetune=flags.finetune,
            labels=flags.labels,
            preprocess=preprocess_flags.choice(),
            val_share=flags.val_share,
            output=flags.output,
            resume=flags.resume,
            processes=flags.processes,
            workers=flags.workers,
            device=flags.device,
            compiled=flags.compile,
            strict=flags.strict,
            log_every=flags.log_every,
            checkpoint_every=flags.checkpoint_every,
            evaluate_every=flags.evaluate_every,
            tensorboard=flags.tensorboard,
            rounding=rounding,
            progress=progress if speaks else silent,
            on_epoch=say_epoch,
        )
    except SaidElsewhereError as error:  # the first process says it
        return error.exit_code
    except KeyboardInterrupt:
        raise KeyboardInterrupt(INTERRUPTED) from None
    if not speaks:
        return 0
    write_plot(run)
    print_run(run)
    if flags.json:
        print_json(document(run))
    return 0


def _train_ablations(flags: TrainFlags, preprocess_flags: PreprocessFlags, recipe_flags: Any) -> int:
    """Train the network and its ablations, and show how they compare."""
    from edgevit_deploy.api import train_ablations
    from edgevit_deploy.commands.train.ablations import check_flags, show, study_document
    from edgevit_deploy.commands.train.view import say_epoch, write_plot
    from edgevit_deploy.train.library import named_recipe
    from edgevit_deploy.train.recipe import changed

    check_flags(flags)
    try:
        study = train_ablations(
            flags.data,
            recipe=changed(named_recipe(flags.recipe, finetunes=False, rounds=False), choices(recipe_flags)),
            labels=flags.labels,
            preprocess=preprocess_flags.choice(),
            val_share=flags.val_share,
            output=flags.output,
            resume=flags.resume,
            processes=flags.processes,
            workers=flags.workers,
            device=flags.device,
            compiled=flags.compile,
            strict=flags.strict,
            log_every=flags.log_every,
            checkpoint_every=flags.checkpoint_every,
            evaluate_every=flags.evaluate_every,
            tensorboard=flags.tensorboard,
            progress=progress,
            on_epoch=say_epoch,
            on_trained=write_plot,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(INTERRUPTED) from None
    show(study)
    if flags.json:
        print_json(study_document(study))
    return 0


train.__annotations__["recipe_flags"] = Annotated[RecipeFlags, Parameter(name="*")]
