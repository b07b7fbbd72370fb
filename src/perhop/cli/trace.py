"""`perhop trace`: where a token led, hop by hop, call by call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.given_token import read_token_id
from perhop.cli.journal_file import JournalFile, open_reader, tell_archived
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import emit_json, emit_text

if TYPE_CHECKING:
    from perhop.journal.investigate import HopTree, TracedCall, TracedHop


def trace(
    token: Annotated[
        str, typer.Argument(metavar="JTI|TXN|TOKEN|-", help="A token (- reads it), or a transaction's id.")
    ],
    journal: JournalFile = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show where a token led, hop by hop. Every token of the transaction, and what was called and refused."""
    from perhop.journal.archived_part import archived_part
    from perhop.journal.investigate import trace as trace_tokens

    jti_or_txn = read_token_id(token)
    with open_reader(config, journal) as reader:
        tell_archived(reader)
        part = archived_part(reader)
        found = trace_tokens(reader, jti_or_txn)
    if as_json:
        held = {} if part is None else {"archived_until": part.until}
        emit_json({**found.as_json(), **held})
    else:
        emit_text("\n".join(hop_tree(found)))


def hop_tree(found: HopTree) -> list[str]:
    """The tree as people see it, in the order in which things happened."""
    known = {hop.jti for hop in found.hops}
    roots = [_Branch.of(hop, found.hops) for hop in found.hops if hop.parent_jti not in known]
    return [f"transaction {found.txn or '(none)'}", *_drawn(roots)]


class _Branch:
    """One entry of the tree: its lines, and what hangs below it."""

    def __init__(self, seq: int, lines: Sequence[str], below: Sequence[_Branch] = ()) -> None:
        self.seq = seq
        self.lines = lines
        self.below = below

    @classmethod
    def of(cls, hop: TracedHop, hops: Sequence[TracedHop]) -> _Branch:
        actors = list(_actors(hop.act))
        through = f", through {', '.join(actors)}" if actors else ""
        below = [
            *(cls(call.seq, [_call_line(call)]) for call in hop.calls),
            *(cls(refusal.seq, [f"exchange refused ({refusal.reason})"]) for refusal in hop.refused),
            *(cls.of(child, hops) for child in hops if child.parent_jti == hop.jti),
        ]
        lines = [f"hop {hop.hop}: good for {hop.aud}", f"{hop.jti} for {hop.sub}{through}"]
        if hop.family is not None:
            lines.append(f"refresh family {hop.family}")
        return cls(hop.seq, lines, sorted(below, key=lambda branch: branch.seq))


def _actors(act: Any) -> Iterator[str]:
    """Who acted, in the order in which they did; the claim has the last one outermost."""
    if isinstance(act, Mapping):
        yield from _actors(act.get("act"))
        yield str(act.get("sub"))


def _call_line(call: TracedCall) -> str:
    what = " ".join(filter(None, (call.method, call.name)))
    end = call.reason or call.error or (str(call.status) if call.status is not None else "")
    where = " at the server" if call.reported_by is not None else ""
    return f"{what}: {call.outcome}{where}" + (f" ({end})" if end else "")


def _drawn(branches: Sequence[_Branch], prefix: str = "") -> Iterator[str]:
    for branch in branches:
        is_last = branch is branches[-1]
        under = prefix + ("    " if is_last else "│   ")
        yield f"{prefix}{'└── ' if is_last else '├── '}{branch.lines[0]}"
        yield from (under + line for line in branch.lines[1:])
        yield from _drawn(branch.below, under)
