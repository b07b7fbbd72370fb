"""Refusing: the record first, then the answer. A refusal that cannot be recorded is answered as such."""

from __future__ import annotations

import logging

from starlette.responses import Response

from perhop.authorization_server.endpoints.render import render_error
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import Trail
from perhop.errors import JournalUnavailable, Refused, TooManyRequests, Unavailable

_log = logging.getLogger("perhop.authorization_server")


async def refuse(fact: Refused | Unavailable, trail: Trail, issuer: Issuer, *, tried_header: bool = False) -> Response:
    """Record a refusal and answer it."""
    return render_error(await record_refusal(fact, trail, issuer), tried_header=tried_header)


async def record_refusal(fact: Refused | Unavailable, trail: Trail, issuer: Issuer) -> Refused | Unavailable:
    """Record a refusal; returns the fact to answer with: this one, or that it cannot be recorded."""
    record = trail.refused(fact)
    try:
        # A flood of somebody whom we know is a flood all the same.
        if trail.is_anonymous or isinstance(fact, TooManyRequests):
            await issuer.journal.append_refusal(record, address=trail.request.ip or "")
        else:
            await issuer.journal.append(record)
    except JournalUnavailable as unrecorded:
        _log.warning("a refusal could not be recorded: %s (%s)", fact.detail or fact.description, unrecorded.detail)
        return unrecorded
    return fact
