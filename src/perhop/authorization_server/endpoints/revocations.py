"""`/revocations`: the signed feed of revocations, as a long poll, for everyone who verifies our tokens.

Its entries name what is revoked only by SHA-256, so anybody may read it. `iat` says how fresh the answer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.form import Form, check_unrepeated, parse_form
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import RevocationRow
from perhop.errors import TokenRequestMalformed
from perhop.tokens.statement import sign_statement

STATEMENT_TYPE = "revocations+jwt"
DEFAULT_WAIT = 20
MAX_WAIT = 25
MAX_ENTRIES = 1000
"""In one answer; a reader that is further behind asks again from `next`."""
_MAX_NUMBER = 2**53


async def revocations(request: Request, issuer: Issuer) -> Response:
    """Answer at once with what is newer than `after`, else when something is, or empty after `wait` seconds.

    Raises: TokenRequestMalformed, StorageUnavailable
    """
    form = parse_form(request.scope["query_string"])
    check_unrepeated(form)
    after, wait = _number(form, "after", 0), min(_number(form, "wait", DEFAULT_WAIT), MAX_WAIT)
    if after > issuer.revocations.seq:
        after = 0  # the reader has seen numbers that are not ours: it begins again, rather than wait for them
    await issuer.revoker.grown(after=after, wait=wait)
    # In force means in the database before that, so a look at the database now shows all up to this number.
    known = issuer.revocations.seq
    rows = await issuer.stores.revocation_rows.after(after, now=issuer.now())
    statement = sign_statement(_payload(issuer, after, known, rows), typ=STATEMENT_TYPE, key=issuer.keyring.active)
    return Response(statement, media_type="application/jwt", headers=dict(NO_STORE))


def _payload(issuer: Issuer, after: int, known: int, rows: Sequence[RevocationRow]) -> dict[str, Any]:
    told = rows[:MAX_ENTRIES]
    # Rows that are over are not told, but counted: or the reader would ask for them for ever.
    last = told[-1].seq if len(rows) > len(told) else max([known, after, *(row.seq for row in told)])
    return {
        "iss": issuer.url,
        "iat": issuer.now(),
        "after": after,
        "next": last,
        "entries": [
            {
                "seq": row.seq,
                "kind": row.kind,
                "digest": row.digest,
                "not_before": row.not_before,
                "exp": row.expires_at,
            }
            for row in told
        ],
    }


def _number(form: Form, name: str, default: int) -> int:
    text = form.one(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < _MAX_NUMBER):
        raise TokenRequestMalformed(f"`{name}` is not a whole number")
    return int(text)
