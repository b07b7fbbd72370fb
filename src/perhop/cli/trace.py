"""`perhop trace`: where a token led, hop by hop, call by call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.tree import Tree

from perhop.cli.output import AsJson, ConfigFile, config_path, emit_json, stdout
from perhop.journal.investigate import HopTree, TracedHop
from perhop.journal.investigate import trace as trace_tokens
from perhop.settings import load
from perhop.storage.journal_reader import JournalQueries


def trace(
    token: Annotated[str, typer.Argument(metavar="JTI|TXN", help="A token's id, or a transaction's.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show every token of a transaction, who acted for whom, and what was called and refused."""
    with JournalQueries(load(config_path(config), os.environ).journal_path) as reader:
        found = trace_tokens(reader, token)
    if as_json:
        emit_json(found.as_json())
    else:
        stdout.print(hop_tree(found))


def hop_tree(found: HopTree) -> Tree:
    """The tree as people see it."""
    root = Tree(f"transaction {found.txn or '(none)'}", highlight=False)
    known = {hop.jti for hop in found.hops}
    for hop in found.hops:
        if hop.parent_jti not in known:
            _grow(root, hop, found.hops)
    return root


def _grow(branch: Tree, hop: TracedHop, hops: Sequence[TracedHop]) -> None:
    actors = f", presented by {' for '.join(hop.act)}" if isinstance(hop.act, list | tuple) and hop.act else ""
    node = branch.add(f"hop {hop.hop}: good for {hop.aud}\n{hop.jti} for {hop.sub}{actors}")
    for call in hop.calls:
        what = " ".join(filter(None, (call.method, call.name)))
        end = call.reason or call.error or (str(call.status) if call.status is not None else "")
        node.add(f"{what}: {call.outcome}" + (f" ({end})" if end else ""))
    for refusal in hop.refused:
        node.add(f"exchange refused ({refusal.reason})")
    for child in hops:
        if child.parent_jti == hop.jti:
            _grow(node, child, hops)
