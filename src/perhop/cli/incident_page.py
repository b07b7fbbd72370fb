"""The report of an incident as one page: no script, nothing fetched, every text of a peer escaped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from perhop.cli.output import counted
from perhop.cli.table import printable
from perhop.journal.blast_radius import BlastRadius, Could
from perhop.journal.facets import format_microseconds
from perhop.journal.incident import Incident
from perhop.journal.investigate import HopTree, TracedHop
from perhop.journal.tally import Sighting

MAX_LINES = 300
"""Records in the table of the timeline."""

WIDTH = 880
MAX_CHIPS = 80
LONGEST_LABEL = 40
_LEFT = 230
_CHIP = 24
_GAP = 24
_LETTER = 6.9
_PADDING = 14

TIMELINE = (190, 832)
MAX_LANES = 12
_LANE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One tool in the picture of the reach."""

    x: int
    y: int
    width: int
    name: str
    label: str
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One resource in the picture of the reach."""

    resource: str
    note: str
    y: int
    chips: tuple[Chip, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One record on the timeline."""

    x: float
    y: int
    refused: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One network on the timeline."""

    network: str
    y: int
    strange: bool


def incident_page(found: Incident, tree: HopTree, *, made_at: int) -> str:
    """The whole page. `made_at` is in seconds since the epoch."""
    rows, height = reach_picture(found.radius)
    lanes, dots, span = timeline(found)
    every = sorted((*found.sightings, *found.below), key=lambda each: each.seq)
    return _template().render(
        found=found,
        radius=found.radius,
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made_at)),
        elsewhere=sorted({each.resource or "?" for each in found.radius.refused if each.reason == "audience.mismatch"}),
        rows=rows,
        height=height,
        lanes=lanes,
        dots=dots,
        span=span,
        lane_height=_LANE * (len(lanes) + 1),
        tree=_branches(tree),
        txn=tree.txn,
        lines=[_line(each, found) for each in every[:MAX_LINES]],
        left_out=max(0, len(every) - MAX_LINES),
    )


def reach_picture(radius: BlastRadius) -> tuple[list[Row], int]:
    """A row for each resource in reach with a chip for each tool, filled if it was called; and the height."""
    called = {(each.resource, each.name) for each in radius.did if each.name}
    rows: list[Row] = []
    y = 34
    for could in radius.could:
        mine = {name for at, name in called if at == could.resource and name is not None}
        # What was called comes first: it must be seen, however many others there are.
        tools = [*sorted(mine), *sorted({*could.permitted} - mine)]
        chips = _laid_out(tools[:MAX_CHIPS], mine, y)
        left_out = max(0, len(tools) - MAX_CHIPS)
        note = _note(could, len(mine), len(tools), radius)
        rows.append(Row(resource=could.resource, note=note, y=y, chips=chips, left_out=left_out))
        y = max((chip.y for chip in chips), default=y) + _CHIP + _GAP
    return rows, y


def _laid_out(tools: Sequence[str], done: Set[str], y: int) -> tuple[Chip, ...]:
    chips: list[Chip] = []
    x = _LEFT
    for tool in tools:
        label = tool if len(tool) <= LONGEST_LABEL else f"{tool[: LONGEST_LABEL - 1]}…"
        width = round(len(printable(label)) * _LETTER) + _PADDING
        if x > _LEFT and x + width > WIDTH:
            x, y = _LEFT, y + _CHIP
        chips.append(Chip(x=x, y=y, width=width, name=tool, label=label, done=tool in done))
        x += width + 6
    return tuple(chips)


def _note(could: Could, done: int, tools: int, radius: BlastRadius) -> str:
    how = "directly" if could.hops == 0 else f"over {counted(could.hops, 'hop')}"
    calls = sum(each.count for each in radius.did if each.resource == could.resource)
    return f"{how}; {done} of {counted(tools, 'tool')}, {counted(calls, 'call')}"


def timeline(found: Incident) -> tuple[list[Lane], list[Dot], tuple[str, str] | None]:
    """A lane for each network from which the token was used, a dot for each record; and the first and the last time."""
    seen = [each for each in found.sightings if each.facets.time is not None and each.facets.event != "call.ended"]
    if not seen:
        return [], [], None
    networks = list(dict.fromkeys(each.facets.network or "unknown" for each in seen))[:MAX_LANES]
    lanes = [
        Lane(
            network=network,
            y=_LANE * (number + 1),
            strange=found.habit.is_known and network not in found.habit.networks,
        )
        for number, network in enumerate(networks)
    ]
    at = {lane.network: lane.y for lane in lanes}
    times = [each.facets.time or 0 for each in seen]
    first, last = min(times), max(times)
    left, right = TIMELINE
    dots = [
        Dot(
            x=round(left + (right - left) * ((each.facets.time or 0) - first) / max(1, last - first), 1),
            y=at[network],
            refused=each.facets.reason is not None,
            title=_line(each, found)["what"],
        )
        for each in seen
        if (network := each.facets.network or "unknown") in at
    ]
    return lanes, dots, (format_microseconds(first), format_microseconds(last))


def _line(sighting: Sighting, found: Incident) -> dict[str, Any]:
    facets = sighting.facets
    called = " ".join(filter(None, (facets.method, facets.name)))
    at = facets.resource or facets.in_aud or "?"
    end = facets.reason or " ".join(str(each) for each in (facets.status, facets.error) if each is not None)
    return {
        "seq": sighting.seq,
        "time": format_microseconds(facets.time) if facets.time is not None else "?",
        "event": facets.event or "?",
        "what": f"{at}: {called or facets.event}" + (f" ({end})" if end else ""),
        "network": facets.network or "",
        "user_agent": facets.user_agent or "",
        "refused": facets.reason is not None,
        "own": facets.in_jti == found.token.jti,
    }


def _branches(tree: HopTree) -> list[dict[str, Any]]:
    known = {hop.jti for hop in tree.hops}
    children: dict[str | None, list[TracedHop]] = {}
    for hop in tree.hops:
        children.setdefault(hop.parent_jti if hop.parent_jti in known else None, []).append(hop)
    return [_branch(hop, children) for hop in children.get(None, [])]


def _branch(hop: TracedHop, children: Mapping[str | None, Sequence[TracedHop]]) -> dict[str, Any]:
    refused = sum(call.outcome == "refused" for call in hop.calls) + len(hop.refused)
    return {
        "hop": hop.hop,
        "aud": hop.aud or "?",
        "jti": hop.jti,
        "sub": hop.sub or "?",
        "calls": counted(len(hop.calls) + len(hop.refused) - refused, "call"),
        "refused": refused,
        "below": [_branch(child, children) for child in children.get(hop.jti, [])],
    }


def _shown(value: object) -> object:
    """Every text with what a screen might obey written out."""
    # What the template itself made is markup already; a text of a peer never is.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("perhop.cli", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("incident.html")
