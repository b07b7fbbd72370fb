"""What of an HTTP message is secret: where the product makes secrets, and callers present them, the run learns them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from tests.support.leaks.secrets import Kind

Headers = Iterable[tuple[str, str]]
Secret = tuple[str, Kind]

_FORM: Mapping[str, Kind] = {
    "client_secret": Kind.CLIENT_SECRET,
    "client_assertion": Kind.ASSERTION,
    "assertion": Kind.ASSERTION,
    "subject_token": Kind.TOKEN,
    "actor_token": Kind.TOKEN,
    "token": Kind.TOKEN,
    "access_token": Kind.TOKEN,
    "refresh_token": Kind.REFRESH_TOKEN,
    "code": Kind.CODE,
    "code_verifier": Kind.VERIFIER,
    "password": Kind.PASSWORD,
    "seal": Kind.SEAL,
}
_TOKENS: Mapping[str, Kind] = {
    "access_token": Kind.TOKEN,
    "refresh_token": Kind.REFRESH_TOKEN,
    "id_token": Kind.TOKEN,
}
_COOKIE = re.compile(r"([^=;\s]+)=([^;]*)")


def secrets_in_request(target: str, headers: Headers, body: bytes) -> Iterator[Secret]:
    """What a caller presents: tokens, proofs of clients and people, sessions, and the arguments of a call."""
    yield from _secrets_of_form(urlsplit(target).query)
    is_form = False
    for name, value in headers:
        match name.lower():
            case "authorization":
                yield from _credentials(value)
            case "cookie":
                yield from ((each, Kind.COOKIE) for _, each in _COOKIE.findall(value))
            case "mcp-session-id":
                yield value, Kind.SESSION
            case "content-type":
                is_form = value.startswith("application/x-www-form-urlencoded")
    if is_form:
        yield from _secrets_of_form(body.decode("utf-8", "replace"))
    elif b'"arguments"' in body:
        yield from ((each, Kind.ARGUMENT) for each in _arguments(body))


def secrets_in_answer(status: int, headers: Headers, body: bytes) -> Iterator[Secret]:
    """What the product makes: tokens, codes, cookies, seals of forms, sessions."""
    for name, value in headers:
        match name.lower():
            case "set-cookie":
                yield _COOKIE.findall(value)[0][1], Kind.COOKIE
            case "mcp-session-id":
                yield value, Kind.SESSION
            case "location":
                yield from _secrets_of_form(urlsplit(value).query)
    if any(name.encode() in body for name in _TOKENS):
        answered = _parsed(body)
        if status < 400 and isinstance(answered, dict):
            yield from ((str(answered[name]), kind) for name, kind in _TOKENS.items() if name in answered)
    if b'type="hidden"' in body:
        yield from ((value, _FORM[name]) for name, value in hidden_inputs(body) if name in _FORM)


def hidden_inputs(page: bytes) -> list[tuple[str, str]]:
    """Names and values of a page's hidden inputs."""
    found: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = {name: value or "" for name, value in attrs}
            if tag == "input" and given.get("type") == "hidden":
                found.append((given.get("name", ""), given.get("value", "")))

    Reader().feed(page.decode("utf-8", "replace"))
    return found


def _credentials(value: str) -> Iterator[Secret]:
    scheme, _, rest = value.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            yield from ((word, Kind.TOKEN) for word in rest.replace(",", " ").split())
        case "basic":
            try:
                _, _, secret = base64.b64decode(rest.strip()).decode("utf-8", "replace").partition(":")
            except (binascii.Error, ValueError):
                return
            yield unquote_plus(secret), Kind.CLIENT_SECRET


def _secrets_of_form(text: str) -> Iterator[Secret]:
    if "=" in text:
        yield from ((value, _FORM[name]) for name, value in parse_qsl(text) if name in _FORM)


def _arguments(body: bytes) -> Iterator[str]:
    """Every text in the arguments of a call, or of a prompt."""
    message = _parsed(body)
    params = message.get("params") if isinstance(message, dict) else None
    if isinstance(params, dict):
        yield from _texts(params.get("arguments"))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for each in value.values():
                yield from _texts(each)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
