"""Reach: what hops lead to, by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from perhop.core.client import Client, NoAuthentication
from perhop.core.registry import Registry
from perhop.core.resource import Hop, Resource, Scope
from perhop.rules.reach import Reached, client_reach, reach
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope import map_through_hop

NAMES = "abcdef"
SCOPES = ("x", "y")


def _registry(hops: Sequence[Hop], *clients: Client) -> Registry:
    resources = {
        name: Resource(
            name=name,
            uri=parse_resource_uri(f"https://{name}.example.com/mcp"),
            owner="team",
            scopes={
                "x": Scope(name="x", says="", tools=("read_*", "list")),
                "y": Scope(name="y", says="", tools=("write", "list")),
            },
        )
        for name in NAMES
    }
    return Registry(
        owners={}, resources=resources, clients={each.id: each for each in clients}, hops=tuple(hops), version="v"
    )


def _hop(source: str, target: str, **scopes: tuple[str, ...]) -> Hop:
    return Hop(source=source, target=target, scopes=scopes or {"x": ("x",)})


def _found(reached: Sequence[Reached]) -> dict[str, tuple[frozenset[str], int]]:
    return {each.resource.name: (each.scopes, each.hops) for each in reached}


def _client(**facts: object) -> Client:
    return Client(
        id="agent",
        owner="team",
        purpose="",
        expires=date(2099, 1, 1),
        authentication=NoAuthentication(),
        grants=frozenset(),
        **{"reaches": {}, **facts},  # type: ignore[arg-type]
    )


def test_hops_are_followed_with_what_they_give() -> None:
    """Scopes map from hop to hop, and a hop that gives none leads nowhere."""
    registry = _registry([_hop("a", "b", x=("y",)), _hop("b", "c", y=("x", "y")), _hop("b", "d", x=("x",))])
    found = _found(reach(registry.resources["a"], frozenset({"x"}), registry))
    assert found == {"a": (frozenset({"x"}), 0), "b": (frozenset({"y"}), 1), "c": (frozenset({"x", "y"}), 2)}


def test_four_hops_and_no_more() -> None:
    """A chain of five resources is reached, the sixth is not."""
    registry = _registry([_hop(source, target) for source, target in pairwise(NAMES)])
    assert "".join(_found(reach(registry.resources["a"], frozenset({"x"}), registry))) == "abcde"


def test_a_chain_never_comes_back() -> None:
    """A way back to a resource of the chain gives nothing there."""
    registry = _registry([_hop("a", "b"), _hop("b", "a", x=("x", "y")), _hop("b", "b", x=("y",))])
    found = _found(reach(registry.resources["a"], frozenset({"x"}), registry))
    assert found == {"a": (frozenset({"x"}), 0), "b": (frozenset({"x"}), 1)}


def test_tools_are_those_of_the_scopes() -> None:
    """The patterns of the scopes that were got, each once, in the order of the configuration."""
    registry = _registry([])
    assert reach(registry.resources["a"], frozenset({"y", "x"}), registry)[0].tools == ("read_*", "list", "write")
    assert reach(registry.resources["a"], frozenset({"y"}), registry)[0].tools == ("write", "list")


def test_a_client_reaches_what_it_may_ask_for_and_what_its_servers_hop_to() -> None:
    """Serving a resource is no right to it, but to what its hops lead to."""
    registry = _registry([_hop("a", "b"), _hop("c", "d", y=("y",))])
    client = _client(reaches={"a": ("x",), "gone": ("x",)}, serves=("c",))
    assert _found(client_reach(client, registry)) == {
        "a": (frozenset({"x"}), 0),
        "b": (frozenset({"x"}), 1),
        "d": (frozenset({"y"}), 1),
    }


_hops = st.builds(
    lambda source, target, scopes: Hop(source=source, target=target, scopes=scopes),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(SCOPES), st.lists(st.sampled_from(SCOPES), max_size=2).map(tuple), max_size=2),
)


@given(hops=st.lists(_hops, max_size=14, unique_by=lambda hop: (hop.source, hop.target)))
def test_reach_is_what_every_single_chain_gives(hops: list[Hop]) -> None:
    """The same as trying every chain of different resources, one by one."""
    registry = _registry(hops)
    expected = {"a": frozenset({"x"})}
    for length in range(1, 5):
        for chain in permutations(NAMES[1:], length):
            scopes = frozenset({"x"})
            for source, target in zip(("a", *chain), chain, strict=False):
                hop = registry.hop(source, target)
                scopes = map_through_hop(scopes, hop) if hop is not None else frozenset()
            if scopes:
                expected[chain[-1]] = expected.get(chain[-1], frozenset()) | scopes
    found = reach(registry.resources["a"], frozenset({"x"}), registry)
    assert {each.resource.name: each.scopes for each in found} == expected
