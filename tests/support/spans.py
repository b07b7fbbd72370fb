"""Spans that are kept, over OpenTelemetry's API alone: what a server's framework traces, as a test sees it.

The API takes one provider for the life of a process. This one keeps what begins inside `kept_spans`, and nothing else.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags, Tracer, TracerProvider, use_span
from opentelemetry.util._decorator import _agnosticcontextmanager

from tests.support.leaks.exceptions import SPAN_ATTRIBUTES
from tests.support.leaks.files import Sight
from tests.support.leaks.scan import THE_SCAN


@dataclass(eq=False)
class KeptSpan(Span):
    """One span, as far as it has come."""

    name: str
    kind: SpanKind
    parent: SpanContext
    context: SpanContext
    attributes: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Its events, statuses and exceptions, as text."""
    ended: int = 0

    def end(self, end_time: int | None = None) -> None:
        self.ended += 1

    def get_span_context(self) -> SpanContext:
        return self.context

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self.said.append(f"{name} {dict(attributes or {})}")

    def update_name(self, name: str) -> None:
        self.name = name

    def is_recording(self) -> bool:
        return not self.ended

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.said.append(f"{status} {getattr(status, 'description', '')} {description}")

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        self.said.append("".join(traceback.format_exception(exception)))


class _Keeper(TracerProvider, Tracer):
    def __init__(self) -> None:
        self.kept: list[KeptSpan] | None = None
        self._numbers = itertools.count(1)

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return self

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Span:
        if self.kept is None:
            return trace.INVALID_SPAN
        parent = trace.get_current_span(context).get_span_context()
        number = next(self._numbers)
        own = SpanContext(
            parent.trace_id or number, number, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )
        span = KeptSpan(name, kind, parent, own, dict(attributes or {}))
        self.kept.append(span)
        return span

    @_agnosticcontextmanager
    def start_as_current_span(self, name: str, *args: Any, end_on_exit: bool = True, **kwargs: Any) -> Iterator[Span]:
        with use_span(self.start_span(name, *args, **kwargs), end_on_exit=end_on_exit) as span:
            yield span


_KEEPER = _Keeper()


@contextmanager
def kept_spans() -> Iterator[list[KeptSpan]]:
    """Every span that begins inside the block, in that order."""
    if trace.get_tracer_provider() is not _KEEPER:
        trace.set_tracer_provider(_KEEPER)
    kept: list[KeptSpan] = []
    _KEEPER.kept = kept
    try:
        yield kept
    finally:
        _KEEPER.kept = None
        for span in kept:
            place = f"span `{span.name}`"
            THE_SCAN.show(Sight.SPAN, place, "\n".join((span.name, *span.said)))
            for name, value in span.attributes.items():
                THE_SCAN.show(Sight.SPAN, place, f"{name}: {value}", allowed=SPAN_ATTRIBUTES.get(name))
