"""Investigating: the tree of hops that one transaction made. Pure assembly over a JournalReader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from perhop.errors import NotFound
from perhop.journal.query import Entry, Filter, JournalReader, RecordFinder
from perhop.journal.record import Event
from perhop.rules.mentioned import mentioned

MAX_TOKENS = 10_000
"""Tokens of one tree; a transaction has a handful, and a bound keeps a mistake from reading the whole journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """One call that was tried with a token. `outcome`: `ended`, `unfinished`, `refused`, `authorized` or `admitted`.

    `authorized` is a call that another data plane carries: whether it was made, and how it ended, is not known here.
    `admitted` is what the server reports, with the token that it got; `reported_by` is then who says so, and so it is
    for what the server refused.
    """

    seq: int
    time: str | None
    id: str | None
    method: str | None
    name: str | None
    outcome: str
    reason: str | None
    status: int | None
    error: str | None
    duration_ms: int | None
    reported_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request for a new token, with this token as the subject, that was refused."""

    seq: int
    time: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedHop:
    """One token, and what was done with it. `seq` is the first record that knows it.

    `family` is the refresh family of a token that a person allowed, where its client may refresh it.
    """

    txn: str | None
    hop: int
    aud: str | None
    sub: str | None
    act: Any
    jti: str
    parent_jti: str | None
    seq: int
    calls: tuple[TracedCall, ...]
    refused: tuple[Refusal, ...]
    family: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTree:
    """Every token of one transaction, each parent before its children, and depth first."""

    txn: str | None
    hops: tuple[TracedHop, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `perhop trace --json` prints."""
        return {"txn": self.txn, "hops": [asdict(hop) for hop in self.hops]}


@dataclass(slots=True)
class _Token:
    """What the records read so far say of one token."""

    jti: str
    seq: int
    aud: str | None = None
    sub: str | None = None
    act: Any = None
    parent_jti: str | None = None
    family: str | None = None
    hop: int | None = None
    calls: list[TracedCall] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def trace(reader: RecordFinder, jti_or_txn: str) -> HopTree:
    """The hop tree of the transaction with this id, or of the one to which the token with this id belongs.

    Raises: NotFound
    """
    return _tree(*find_related(reader, jti_or_txn))


def find_related(reader: RecordFinder, jti_or_txn: str) -> tuple[str | None, list[Entry]]:
    """The transaction, if it has one, and its records: all that the tree is made of.

    Raises: NotFound
    """
    entries = list(reader.find(Filter(txn=jti_or_txn)))
    if entries:
        return jti_or_txn, _with_outcomes(reader, entries)
    entries = list(reader.find(Filter(jti=jti_or_txn)))
    if not entries:
        raise NotFound(
            f"the journal knows no token and no transaction `{mentioned(jti_or_txn)}`",
            advice="`perhop token inspect` shows the `jti` of a token",
        )
    txn = next((each.text("txn") for each in entries if each.text("txn")), None)
    related = list(reader.find(Filter(txn=txn))) if txn is not None else []
    # A token that another issuer, or a key taken over, made may stand in records without a `txn`.
    known = {each.seq: each for each in (*related, *entries)}  # each record once, and read once
    return txn, _with_outcomes(reader, _closure(reader, list(known.values()), asked=jti_or_txn))


def unfinished(reader: JournalReader, *, since: str | None = None) -> Iterator[Entry]:
    """Permits whose call has no outcome: it still runs, a crash cut it off, or its outcome could not be written.

    Not those of calls that another data plane carries: their outcome is never ours to record.
    """
    return reader.unfinished(since=since)


def _closure(reader: RecordFinder, entries: Sequence[Entry], *, asked: str) -> list[Entry]:
    """These records, and those of every token that they lead to. All of `asked` are among them."""
    found = {each.seq: each for each in entries}
    seen = {asked}
    waiting = [jti for each in entries for jti in _jtis(each)]
    while waiting and len(seen) < MAX_TOKENS:
        jti = waiting.pop()
        if jti in seen:
            continue
        seen.add(jti)
        for entry in reader.find(Filter(jti=jti)):
            if entry.seq not in found:  # of what is known already, all tokens are
                found[entry.seq] = entry
                waiting.extend(_jtis(entry))
    return [found[seq] for seq in sorted(found)]


def _with_outcomes(reader: RecordFinder, entries: Sequence[Entry]) -> list[Entry]:
    """These records, and the outcomes of their calls, which need not name the transaction."""
    found = {each.seq: each for each in entries}
    calls = _calls(entries, Event.CALL_PERMITTED) - _calls(entries, Event.CALL_ENDED)
    for call_id in calls:
        found.update((each.seq, each) for each in reader.find(Filter(call_id=call_id)))
    return [found[seq] for seq in sorted(found)]


def _calls(entries: Sequence[Entry], event: Event) -> set[str]:
    """The calls of which there is a record of this event."""
    ids = (_call_id(each) for each in entries if each.fields.get("event") == event.value)
    return {each for each in ids if each is not None}


def _call_id(entry: Entry) -> str | None:
    call_id = entry.part("call").get("id")
    return call_id if isinstance(call_id, str) else None


def _jtis(entry: Entry) -> Iterator[str]:
    for jti in (entry.part("in").get("jti"), entry.part("out").get("jti"), entry.text("parent_jti")):
        if isinstance(jti, str):
            yield jti


def _tree(txn: str | None, entries: Sequence[Entry]) -> HopTree:
    tokens: dict[str, _Token] = {}
    ends = {_call_id(each): each for each in entries if each.fields.get("event") == Event.CALL_ENDED.value}
    ends.pop(None, None)
    for entry in entries:
        _read_tokens(entry, tokens)
        _read_use(entry, ends, tokens)
    children: dict[str | None, list[_Token]] = {}
    for token in tokens.values():
        parent = token.parent_jti if token.parent_jti in tokens else None
        children.setdefault(parent, []).append(token)
    hops: list[TracedHop] = []
    waiting = [(token, 1) for token in reversed(children.get(None, []))]
    while waiting:
        token, counted = waiting.pop()
        # What came before may be archived: the records know how far from the first the token is.
        hop = token.hop if token.hop is not None else counted
        hops.append(_hop(txn, token, hop))
        waiting.extend((child, hop + 1) for child in reversed(children.get(token.jti, [])))
    return HopTree(txn=txn, hops=tuple(hops))


def _read_tokens(entry: Entry, tokens: dict[str, _Token]) -> None:
    inbound, outbound = entry.part("in"), entry.part("out")
    source = _token(tokens, inbound, entry)
    target = _token(tokens, outbound, entry)
    _read_hop(entry.fields.get("hop"), source, target)
    if target is None:
        return
    target.parent_jti = target.parent_jti or entry.text("parent_jti") or (source.jti if source else None)
    if target.parent_jti == target.jti:
        target.parent_jti = None
    target.sub = target.sub or inbound.get("sub") or entry.text("client")
    target.family = target.family or family_of(entry)


def _read_hop(hop: object, source: _Token | None, target: _Token | None) -> None:
    """A record's `hop` is that of the token that went out; without one, of the token that came in."""
    if type(hop) is not int:
        return
    for token, number in ((target, hop), (source, hop if target is None else hop - 1)):
        if token is not None and token.hop is None and number > 0:
            token.hop = number


def family_of(entry: Entry) -> str | None:
    """The refresh family of which a record speaks."""
    family = entry.part("about").get("family")
    return family if isinstance(family, str) else None


def _token(tokens: dict[str, _Token], claims: Mapping[str, Any], entry: Entry) -> _Token | None:
    jti = claims.get("jti")
    if not isinstance(jti, str):
        return None
    token = tokens.setdefault(jti, _Token(jti, entry.seq))
    token.aud = token.aud or claims.get("aud")
    token.sub = token.sub or claims.get("sub")
    token.act = token.act or claims.get("act")
    return token


def _read_use(entry: Entry, ends: Mapping[str | None, Entry], tokens: Mapping[str, _Token]) -> None:
    """Note under the token that came in what it was used for."""
    jti = entry.part("in").get("jti")
    token = tokens.get(jti) if isinstance(jti, str) else None
    if token is None:
        return
    match entry.fields.get("event"):
        case Event.CALL_PERMITTED.value:
            end = ends.get(_call_id(entry))
            carried = entry.part("call").get("data_plane") is not None
            outcome = "ended" if end is not None else "authorized" if carried else "unfinished"
            token.calls.append(_call(entry, outcome, end))
        case Event.CALL_REFUSED.value | Event.SESSION_REFUSED.value:
            token.calls.append(_call(entry, "refused", entry))
        case Event.CALL_ADMITTED.value:
            token.calls.append(_call(entry, "admitted", None))
        case Event.TOKEN_REFUSED.value:
            refusal = Refusal(seq=entry.seq, time=entry.text("time"), reason=entry.text("reason"))
            token.refused.append(refusal)


def _call(entry: Entry, outcome: str, end: Entry | None) -> TracedCall:
    call = entry.part("call")
    result: Mapping[str, Any] = end.part("result") if end is not None else {}
    return TracedCall(
        seq=entry.seq,
        time=entry.text("time"),
        id=call.get("id"),
        method=call.get("method"),
        name=call.get("name"),
        outcome=outcome,
        reason=end.text("reason") if end is not None else None,
        status=result.get("status"),
        error=result.get("error"),
        duration_ms=result.get("duration_ms"),
        reported_by=entry.part("report").get("by"),
    )


def _hop(txn: str | None, token: _Token, hop: int) -> TracedHop:
    return TracedHop(
        txn=txn,
        hop=hop,
        aud=token.aud,
        sub=token.sub,
        act=token.act,
        jti=token.jti,
        parent_jti=token.parent_jti,
        seq=token.seq,
        calls=tuple(token.calls),
        refused=tuple(token.refused),
        family=token.family,
    )
