"""Where tensors are found in what a file holds, however often its parts are used."""

import pytest
import torch

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.inert import StandIn
from edgevit_deploy.model.places import find_places


def paths(tree: object) -> list[tuple[str, ...]]:
    return [place.path for place in find_places(tree)]


def module(**children: object) -> StandIn:
    groups = {"_parameters": {"weight": torch.zeros(1)}, "_buffers": {}, "_modules": children}
    return StandIn("their.Module", state=groups)


def test_every_dictionary_with_tensors_is_found_the_outer_ones_first() -> None:
    state = {"weight": torch.zeros(1)}
    holder = StandIn("their.Holder", arguments=(state,), state={"kept": dict(state)})
    table = StandIn("their.Table", entries=[("row", dict(state))])
    listing = StandIn("their.List", items=[dict(state)])
    tree = {"epoch": 3, "a": dict(state), "b": [(dict(state),)], "c": holder, "d": table, "e": listing, 7: dict(state)}
    found = paths(tree)
    assert found[:2] == [("a",), ("7",)]
    assert sorted(found[2:]) == [("b", "0", "0"), ("c", "0"), ("c", "kept"), ("d", "row"), ("e", "0")]


def test_a_network_is_one_place_and_its_parts_are_none() -> None:
    (place,) = find_places({"net": module(head=module(), body=module(layer=module()))})
    assert place.path == ("net",)
    assert list(place.entries) == ["weight", "head.weight", "body.weight", "body.layer.weight"]


def test_what_holds_itself_is_visited_once() -> None:
    tree: dict[str, object] = {"weight": torch.zeros(1)}
    tree["itself"] = tree
    assert paths(tree) == [()]


@pytest.mark.timeout(60)
def test_long_parts_that_many_objects_share_are_visited_once() -> None:
    """100,000 objects with the same 100,000 arguments, and the same attributes."""
    arguments = tuple([(1,)] * 100_000)
    state = dict.fromkeys(map(str, range(100_000)), 0)
    assert paths([StandIn("their.Kind", arguments=arguments, state=state) for _ in range(100_000)]) == []


def test_the_number_of_networks_is_bounded() -> None:
    assert len(paths([module() for _ in range(64)])) == 64
    with pytest.raises(UsageError, match="holds more than 64 networks"):
        paths([module() for _ in range(65)])
