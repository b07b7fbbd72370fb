"""Where a token is read: one header, one scheme, one space, one token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import BearerRefused, TokenMalformed, TokenMissing
from perhop.rules.bearer import MAX_TOKEN_BYTES, is_b64token, parse_presented


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("name", ["authorization", "Authorization"])
def test_one_bearer_token_is_read(scheme: str, name: str) -> None:
    """The scheme and the field's name are read without regard to case."""
    assert parse_presented((("host", "x"), (name, f"{scheme} abc.DEF-_~+/="))).token == "abc.DEF-_~+/="


@pytest.mark.parametrize("headers", [(), (("cookie", "a=b"),), (("x-authorization", "Bearer abc"),)])
def test_no_authorization_is_a_missing_token(headers: tuple[tuple[str, str], ...]) -> None:
    """Without the header no token came."""
    with pytest.raises(TokenMissing):
        parse_presented(headers)


@pytest.mark.parametrize("value", ["Basic YTpi", "DPoPx abc", "Digest x", "Bearerx abc", "Negotiate"])
def test_another_scheme_is_a_missing_token(value: str) -> None:
    """A scheme that is not supported is no bearer token."""
    with pytest.raises(TokenMissing):
        parse_presented((("authorization", value),))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  abc",
        "Bearer\tabc",
        "Bearer\u00a0abc",
        " Bearer abc",
        "Bearer abc ",
        "Bearer abc\t",
        "Bearer abc, Bearer def",
        "Bearer abc,def",
        'Bearer token="abc"',
        "Bearer ab=c",
        "Bearer =",
        "Bearer abc\n",
        "Bearer a\u0131b",
        "Bearer abc def",
        "\u017fearer abc",
    ],
)
def test_anything_but_scheme_space_token_is_malformed(value: str) -> None:
    """Lists, other white space, quotes and foreign letters are refused, never cut or trimmed."""
    with pytest.raises(TokenMalformed):
        parse_presented((("authorization", value),))


@pytest.mark.parametrize("second", ["Bearer abc", "Bearer def", "Basic YTpi", ""])
def test_two_headers_are_malformed(second: str) -> None:
    """Of two headers neither wins, even if they are equal."""
    for headers in ((("authorization", "Bearer abc"), ("Authorization", second)),):
        with pytest.raises(TokenMalformed):
            parse_presented(headers)
        with pytest.raises(TokenMalformed):
            parse_presented(headers[::-1])


def test_the_longest_token_is_8_kib() -> None:
    """A token of 8 KiB is read, one of a byte more is not."""
    assert parse_presented((("authorization", "Bearer " + "a" * MAX_TOKEN_BYTES),)).token == "a" * 8192
    with pytest.raises(TokenMalformed):
        parse_presented((("authorization", "Bearer " + "a" * (MAX_TOKEN_BYTES + 1)),))


@given(st.text())
def test_whatever_comes_is_a_token_or_refused(text: str) -> None:
    """Every header value either is a scheme of ours, one space and one token, or is refused."""
    try:
        presented = parse_presented((("authorization", text),))
    except BearerRefused:
        return
    scheme, _, token = text.partition(" ")
    assert scheme.lower() == presented.scheme.value.lower()
    assert token == presented.token
    assert is_b64token(token)
