"""The records of a bundle as something that can be asked: the tree and the counts of its report are made from them
again, by the same code that made them from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perhop.journal.blast_radius import Counted, count
from perhop.journal.facets import facets_of
from perhop.journal.query import Entry, Filter
from perhop.journal.tally import Tally


class BundledRecords:
    """A RecordFinder over records in memory; it looks for a token, a transaction or a call, as a tree does."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.seqs: set[int] = set()
        self._by_jti: dict[str, list[Entry]] = {}
        self._by_txn: dict[str, list[Entry]] = {}
        self._by_call: dict[str, list[Entry]] = {}
        self._entries: list[Entry] = []
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        facets = facets_of(entry.fields)
        self.seqs.add(entry.seq)
        self._entries.append(entry)
        for index, keys in (
            (self._by_jti, {facets.in_jti, facets.out_jti}),
            (self._by_txn, {facets.txn}),
            (self._by_call, {facets.call_id}),
        ):
            for key in keys:
                if key is not None:
                    index.setdefault(key, []).append(entry)

    def find(self, wanted: Filter) -> Iterator[Entry]:
        """The records of one token, one transaction or one call."""
        match wanted:
            case Filter(jti=str(jti)):
                yield from self._by_jti.get(jti, ())
            case Filter(txn=str(txn)):
                yield from self._by_txn.get(txn, ())
            case Filter(call_id=str(call_id)):
                yield from self._by_call.get(call_id, ())
            case _:
                raise ValueError("a bundle is asked for a token, a transaction or a call")

    def descendants(self, jti: str) -> Sequence[str]:
        """The token, and those that came from it by exchange."""
        found = {jti: None}
        waiting = [jti]
        while waiting:
            for entry in self._by_jti.get(waiting.pop(), ()):
                facets = facets_of(entry.fields)
                if facets.in_jti in found and facets.out_jti is not None and facets.out_jti not in found:
                    found[facets.out_jti] = None
                    waiting.append(facets.out_jti)
        return list(found)

    def counted(self, tokens: Iterable[str]) -> Counted:
        """What was done with these tokens and refused to them."""
        return count(self._tallies(frozenset(tokens)))

    def _tallies(self, tokens: frozenset[str]) -> Iterator[Tally]:
        for entry in self._entries:
            facets = facets_of(entry.fields)
            if facets.in_jti in tokens and facets.time is not None:
                yield Tally(kind=facets, count=1, first=facets.time, last=facets.time)


def seqs_in_tree(tree: Mapping[str, Any]) -> Iterator[int]:
    """The numbers that a tree, as `perhop trace --json` prints it, names."""
    for hop in tree["hops"]:
        yield hop["seq"]
        for each in (*hop["calls"], *hop["refused"]):
            yield each["seq"]
