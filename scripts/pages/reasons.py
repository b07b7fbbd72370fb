"""docs/reference/reasons.md: every reason for which Perhop refuses, from the errors themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from perhop import errors

_HEAD = """# Reasons

<!-- written by `make docs` from src/perhop/errors/ -->

Every refusal has one of these dotted reasons. They stand in the journal, in `data.reason` of a refused call and in the
answers of the guard (for your log). The peer gets fixed text; what was wrong in detail is in the journal only.

| Reason | Status | `error` on the wire | Facts |
| --- | --- | --- | --- |
"""
_TAIL = """
A status is that of an HTTP answer. At `/token` and `/authorize` the `error` is the OAuth error code; for a bad token it
is the `error` of the `WWW-Authenticate` challenge; `-32nnn` is a JSON-RPC code.
"""

Fact = type[errors.Refused] | type[errors.Unavailable]


def facts(root: Fact) -> Iterator[Fact]:
    """Every class of the tree under a root, itself not included, in the order of the file."""
    for leaf in root.__subclasses__():
        yield leaf
        yield from facts(leaf)


def reasons() -> dict[str, list[Fact]]:
    """The facts of each reason; classes that only group others are not facts."""
    by_reason: dict[str, list[Fact]] = {}
    for fact in [*facts(errors.Refused), *facts(errors.Unavailable)]:
        if not _only_groups(fact):
            by_reason.setdefault(fact.reason, []).append(fact)
    return dict(sorted(by_reason.items()))


def _only_groups(fact: Fact) -> bool:
    return fact.__bases__[0] in (errors.Refused, errors.PerhopError) and bool(fact.__subclasses__())


def _wire(fact: Fact) -> str:
    if issubclass(fact, errors.RequestRefused):
        return "" if fact.rpc_code is None else f"`{fact.rpc_code}`"
    return f"`{fact.error}`"


def _says(fact: Fact) -> str:
    described = "" if fact.__doc__ is None or "__doc__" not in vars(fact) else inspect.cleandoc(fact.__doc__)
    first = described.partition("\n\n")[0].partition("Spec:")[0].replace("\n", " ").strip()
    return f"`{fact.__name__}`: {first}" if first else f"`{fact.__name__}`: {fact.description}"


def render() -> str:
    """The page."""
    rows = []
    for reason, of in reasons().items():
        status = ", ".join(sorted({str(fact.status) for fact in of}))
        wire = ", ".join(dict.fromkeys(filter(None, map(_wire, of))))
        rows.append(f"| `{reason}` | {status} | {wire} | {'<br>'.join(map(_says, of))} |")
    return _HEAD + "\n".join(rows) + "\n" + _TAIL
