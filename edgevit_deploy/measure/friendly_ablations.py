"""What converters and partitioners make of the paper's ablations beside the published network: whole graphs, as deployed."""

from collections.abc import Sequence
from dataclasses import replace

from edgevit_deploy.errors import DeployError, MissingError, UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.friendliness import Examiner, Friendliness, Survey, Whole
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.request import FileRequest
from edgevit_deploy.workbench import Step, Workbench, open_workbench


def examine_ablations(host: ThisHost, origin: ModelOrigin, request: FileRequest, targets: Sequence[str], step: Step) -> Survey:
    """Convert the published network and every ablation, each in the target's own form, for one target after the other.

    Args:
        host: finds exporters and runtimes.
        origin: of the published network: its random weights, classes and size are the ablations' too.
        request: what is asked of every file, at one image size.
        targets: names.
        step: told what is being done.

    Returns:
        For each target a whole graph of each network, by the network's name.

    Raises:
        UsageError: the network is another than the ablations are of, or has weights that they have not.
        MissingError: no target could be examined.
    """
    if origin.weights is not None:
        raise UsageError("--against ablations: there are no weights of them to go with --weights; give --model edgevit_xxs")
    model = load_model(origin)
    if model.spec.variant != BASELINE.variant:
        raise UsageError(
            f"--against ablations: they are of {BASELINE.variant}, and the network is {model.spec.variant}; "
            f"give --model {BASELINE.variant}"
        )
    networks = [model, *(load_model(replace(origin, model=name)) for name in ABLATIONS)]
    found, skipped = [], {}
    for target in targets:
        try:
            exporter = host.require_exporter(target)
        except DeployError as error:
            skipped[target] = str(error)
            continue
        graphs: dict[str, Whole] = {}
        tools: dict[str, str] = {}
        with open_workbench(model, host, step) as bench:
            for network in networks:
                step(f"{target}: {network.spec.variant}")
                own = Workbench(network, host, bench.fresh_folder(), step)
                graphs[network.spec.variant], versions = Examiner(own, request.plan(exporter, network)).whole()
                tools |= versions
        found.append(Friendliness(target=target, tools=tools, graphs=graphs, parts={}, time_shares={}))
    if not found:
        raise MissingError("no target could be examined: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
    return Survey(found=tuple(found), skipped=skipped, peer_given="")
