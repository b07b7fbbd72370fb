"""Parameters as they arrive: one strict reading of `application/x-www-form-urlencoded`, for bodies and queries alike.

Spec: RFC 6749 §3.1
Spec: RFC 6749 §3.2
Spec: RFC 6749 Appendix B
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request

from perhop.core.short_way import short_way
from perhop.errors import BodyTooLarge, BodyTooSlow, TokenRequestMalformed

MAX_BODY_BYTES = 64 * 1024
MAX_BODY_SECONDS = 30
MAX_PARAMETERS = 100
FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"

_ENCODED = re.compile(rb"(?:[^%\x00-\x20\x7f-\xff]|%[0-9A-Fa-f]{2})*")

_PLAIN = frozenset({"grant_type", "resource", "scope", "audience", "client_id", "authorization_details"})
_LONGEST_KEPT = 1024
MOST_KEPT = 512
"""Forms that are kept, each by its octets: whoever asks for tokens asks with the same few."""


@dataclass(frozen=True, slots=True)
class Form:
    """Every parameter with its values, in order and as they came; `first` has the first value of those that have one.

    A parameter that is empty is the same as one that is absent. One form that `is_kept` is the same object for every
    request that says the same.

    Spec: RFC 6749 §3.2
    """

    values: Mapping[str, tuple[str, ...]]
    first: Mapping[str, str] = field(init=False, repr=False, compare=False)
    repeated: tuple[str, ...] = field(init=False, repr=False, compare=False)
    is_kept: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = self.values
        object.__setattr__(self, "first", {name: found[0] for name, found in values.items() if found and found[0]})
        repeated = [name for name, found in values.items() if len(found) > 1]
        object.__setattr__(self, "repeated", tuple(repeated))

    def one(self, name: str) -> str | None:
        """The first value of a parameter; None if it is absent or empty, which is the same. Spec: RFC 6749 §3.2."""
        return self.first.get(name)

    def required(self, name: str) -> str:
        """The value of a parameter that must be there.

        Raises: TokenRequestMalformed
        """
        value = self.one(name)
        if value is None:
            raise TokenRequestMalformed(f"`{name}` is missing")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """Every value, empty ones too."""
        return self.values.get(name, ())

    def is_repeated(self, name: str) -> bool:
        return name in self.repeated


_KEPT: dict[bytes, Form] = {}


def parse_form(raw: bytes) -> Form:
    """Read parameters; a text that is not exactly of this encoding, or not UTF-8, is refused, never repaired.

    Does not refuse repeated parameters.

    Raises: TokenRequestMalformed
    """
    kept = _KEPT.get(raw)
    if kept is not None:
        return kept
    values = _parse(raw)
    # INVARIANT: no secret is kept, since no form is kept that has a parameter beside these.
    if len(raw) > _LONGEST_KEPT or not values.keys() <= _PLAIN:
        return Form(values)
    if len(_KEPT) >= MOST_KEPT:
        del _KEPT[next(iter(_KEPT))]
    form = _KEPT[raw] = Form(values, is_kept=True)
    return form


def _parse(raw: bytes) -> Mapping[str, tuple[str, ...]]:
    pairs = raw.split(b"&") if raw else []
    if len(pairs) > MAX_PARAMETERS:
        raise TokenRequestMalformed(f"more than {MAX_PARAMETERS} parameters")
    values: dict[str, tuple[str, ...]] = {}
    # No escape goes over a `&`, so all of them are good if the whole is.
    is_good = _ENCODED.fullmatch(raw) is not None
    for pair in pairs:
        if not is_good and _ENCODED.fullmatch(pair) is None:
            raise TokenRequestMalformed("the parameters are not form-encoded")
        raw_name, _, raw_value = pair.partition(b"=")
        name = decode_component(raw_name)
        values[name] = (*values.get(name, ()), decode_component(raw_value))
    return values


def decode_component(raw: bytes) -> str:
    """One name or value of a form.

    Raises: TokenRequestMalformed
    """
    try:
        if b"%" in raw or b"+" in raw:
            raw = unquote_to_bytes(raw.replace(b"+", b" "))
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise TokenRequestMalformed("a parameter is not UTF-8") from None


def check_unrepeated(form: Form) -> None:
    """Refuse repeated parameters; `resource` has a rule of its own.

    Spec: RFC 6749 §3.2
    Raises: TokenRequestMalformed
    """
    repeated = sorted(name for name in form.repeated if name != "resource") if form.repeated else ()
    if repeated:
        raise TokenRequestMalformed(f"repeated: {', '.join(f'`{name[:64]}`' for name in repeated)}")


async def read_form(request: Request) -> Form:
    """Read the body of a request as a form.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow
    """
    return parse_form(await read_form_body(request))


async def read_form_body(request: Request) -> bytes:
    """The body of a request that says it is a form, not yet parsed.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow
    """
    headers = request.headers
    types = headers.getlist("content-type")
    if types != [FORM_MEDIA_TYPE]:
        _check_type(types)
    coding = headers.get("content-encoding")
    if coding is not None and coding.lower() != "identity":
        raise TokenRequestMalformed("the body has a content encoding")
    return await read_body(request, max_bytes=MAX_BODY_BYTES)


def _check_type(types: Sequence[str]) -> None:
    """Raises: TokenRequestMalformed."""
    media_type, _, parameters = (types[0] if types else "").partition(";")
    if media_type.strip().lower() != FORM_MEDIA_TYPE or len(types) != 1:
        raise TokenRequestMalformed(f"the content type is not `{FORM_MEDIA_TYPE}`")
    if parameters.strip().lower().replace('"', "") not in ("", "charset=utf-8"):
        raise TokenRequestMalformed("the content type has parameters other than `charset=utf-8`")


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """The body of a request, whatever it is.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow
    """
    way = short_way(request.scope)
    whole = None if way is None else way.take_body()  # most are here already, and need no timer
    if whole is not None:
        _check_size(len(whole), max_bytes)
        return whole
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            return await _read_whole(request, max_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"longer than {MAX_BODY_SECONDS} s") from None
    except ClientDisconnect:
        raise TokenRequestMalformed("the peer left before the body was whole") from None


async def _read_whole(request: Request, max_bytes: int) -> bytes:
    """Raises: BodyTooLarge, ClientDisconnect."""
    receive = request.receive
    before = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        _check_size(len(before) + len(chunk), max_bytes)
        if not message.get("more_body", False):
            return bytes(before) + chunk if before else chunk
        before += chunk


def _check_size(size: int, max_bytes: int) -> None:
    """Raises: BodyTooLarge."""
    if size > max_bytes:
        raise BodyTooLarge(f"more than {max_bytes} bytes")
