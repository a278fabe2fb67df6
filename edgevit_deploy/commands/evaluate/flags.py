"""Flags of `convert.py evaluate` that bundles of one task have, and those of another have not."""

from collections.abc import Mapping

from edgevit_deploy.errors import UsageError


def refuse_given(given: Mapping[str, bool], why: str) -> None:
    """Refuse flags of another task, whatever value they were given.

    Args:
        given: name of each, as the function has it -> whether it was given.
        why: what is said of the first that was, behind its name.

    Raises:
        UsageError: one was given.
    """
    if name := next((name for name, there in given.items() if there), None):
        raise UsageError(f"--{name.replace('_', '-')} {why}; drop it")


def refuse_checkpoint_preprocess(preprocess: str | None) -> None:
    """Refuse what is not done for pixels and boxes: there the network's pictures are prepared as each bundle prepares its own.

    Raises:
        UsageError: the checkpoint's preprocessing is asked for.
    """
    if preprocess == "checkpoint":
        raise UsageError(
            "--preprocess checkpoint is for bundles that classify pictures: the network of these gets them as each bundle "
            "prepares its own; drop it"
        )
