"""Where and how a token is presented: one place, one form, one reading of it."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import quote

from perhop.core.call import Headers
from tests.attacks.row import Row
from tests.attacks.tries import Target, bearer, bearer_passes, refused
from tests.attacks.world import ARGUMENT, FORM, a_call
from tests.support.doors import Wire

MALFORMED = refused("token.malformed")
NO_TOKEN = refused("token.malformed", "401")


def _header(value: str) -> Headers:
    return (("authorization", value),)


def _several(target: Target) -> dict[str, Headers]:
    good, bad = target.claiming(), target.claiming(aud="https://other.example.com")
    return {
        "good first": (*_header(f"Bearer {good}"), *_header(f"Bearer {bad}")),
        "good last": (*_header(f"Bearer {bad}"), *_header(f"Bearer {good}")),
        "the same twice": (*_header(f"Bearer {good}"), *_header(f"Bearer {good}")),
        "another case of the name": (*_header(f"Bearer {good}"), ("Authorization", f"Bearer {bad}")),
        "a list": _header(f"Bearer {good}, Bearer {bad}"),
        "two tokens": _header(f"Bearer {good} {bad}"),
        "another scheme beside it": (*_header("Basic eDp5"), *_header(f"Bearer {good}")),
    }


def _separators(target: Target) -> dict[str, Headers]:
    good = target.claiming()
    marks = {
        "two spaces": "  ",
        "tab": "\t",
        "space and tab": " \t",
        "no-break space": "\xa0",
        "colon": ": ",
        "equals": "=",
    }
    odd = {name: _header(f"Bearer{mark}{good}") for name, mark in marks.items()}
    return odd | {
        "quotes": _header(f'Bearer "{good}"'),
        "parameter": _header(f"Bearer token={good}"),
        "alone": _header("Bearer"),
        "none": _header(f"Bearer{good[:0]} "),
        "tab after the token": _header(f"Bearer {good}\t"),
        "space after the token": _header(f"Bearer {good} "),
    }


def _elsewhere(target: Target) -> dict[str, Any]:
    good = target.claiming()
    call = a_call("list_events", {"day": ARGUMENT})
    path = "/" + target.audience.split("/", 3)[3]
    form = Wire(headers=(("content-type", FORM),), body=f"access_token={quote(good)}".encode())
    return {
        "nowhere": call,
        "query": dataclasses.replace(call, target=f"{path}?access_token={good}"),
        "form": form,
        "cookie": (("cookie", f"access_token={good}"),),
        "another header": (("x-authorization", f"Bearer {good}"), ("proxy-authorization", f"Bearer {good}")),
        "Basic": _header(f"Basic {good}"),
        "Token": _header(f"Token {good}"),
        "one word": _header(good.replace(".", "")),
    }


def _cases(target: Target) -> dict[str, Headers]:
    names = ("bearer", "BEARER", "bEaReR")
    return {name: _header(f"{name} {target.claiming()}") for name in names} | {
        "white space before the value": _header(f" \t Bearer {target.claiming()}"),
    }


ROWS: tuple[Row, ...] = (
    bearer(
        "several-credentials",
        "two Authorization headers, or two tokens in one",
        "RFC 6750 §2; RFC 9110 §5.3",
        _several,
        MALFORMED,
    ),
    bearer("odd-separator", "something else than one space after the scheme", "RFC 6750 §2.1", _separators, MALFORMED),
    bearer(
        "token-elsewhere",
        "a token in the query, a form, a cookie or under another scheme",
        "RFC 6750 §5.3; RFC 9700 §4.3.2",
        _elsewhere,
        NO_TOKEN,
    ),
    bearer_passes("scheme-in-another-case", "the scheme's case says nothing", "RFC 9110 §11.1", _cases),
)
