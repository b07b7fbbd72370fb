"""What a token request is read with and answered with: the quick ways give what the plain ones do."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from perhop.authorization_server import form as forms
from perhop.authorization_server.direct_request import HeaderFields
from perhop.authorization_server.endpoints.render import NO_STORE
from perhop.authorization_server.endpoints.token import render_token
from perhop.authorization_server.form import check_unrepeated, parse_form
from perhop.authorization_server.grants.token_exchange import ACCESS_TOKEN_TYPE
from perhop.authorization_server.kept_grants import KeptGrants
from perhop.authorization_server.refresh_families import NextRefreshToken, RefreshFamily, RefreshToken
from perhop.authorization_server.token_ids import TokenIds
from perhop.core.client import NoAuthentication
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret
from perhop.core.token import MintedToken, SenderKey, TokenDraft
from perhop.errors import TokenRequestMalformed
from tests.support.authorization_servers import CALENDAR, a_client, a_resource

NAMES = st.sampled_from(
    ["grant_type", "resource", "scope", "client_id", "code", "x", "", "s%63ope", "sc+pe", "%ff", "%"]
)
VALUES = st.text(alphabet="aZ09-._~%+=&é \x00%2f%C3%A9", max_size=12)
BODIES = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode()
)


def slowly(raw: bytes) -> dict[str, tuple[str, ...]] | str:
    """What a body says, pair by pair and character by character; or the first that is wrong with it."""
    values: dict[str, tuple[str, ...]] = {}
    for pair in raw.split(b"&") if raw else []:
        at = 0
        while at < len(pair):
            escaped = pair[at : at + 1] == b"%"
            digits = pair[at + 1 : at + 3]
            if escaped and not (len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits)):
                return "the parameters are not form-encoded"
            if not 0x20 < pair[at] < 0x7F:
                return "the parameters are not form-encoded"
            at += 3 if escaped else 1
        name, _, value = pair.partition(b"=")
        try:
            decoded = [unquote_to_bytes(part.replace(b"+", b" ")).decode() for part in (name, value)]
        except UnicodeDecodeError:
            return "a parameter is not UTF-8"
        values[decoded[0]] = (*values.get(decoded[0], ()), decoded[1])
    return values


@given(raw=BODIES)
def test_a_form_says_what_its_pairs_say(raw: bytes) -> None:
    """Parsed for the first time and again, a body gives the values that stand in it, or the same refusal."""
    said = slowly(raw)
    for _ in range(2):
        if isinstance(said, str):
            with pytest.raises(TokenRequestMalformed) as refused:
                parse_form(raw)
            assert refused.value.detail == said
            continue
        form = parse_form(raw)
        assert form.values == said
        for name in {*said, "scope", "none"}:
            first = (said.get(name) or ("",))[0] or None
            assert (form.one(name), form.all(name)) == (first, said.get(name, ()))
            assert form.is_repeated(name) == (len(said.get(name, ())) > 1)
        repeated = sorted(name for name, found in said.items() if len(found) > 1 and name != "resource")
        if repeated:
            with pytest.raises(TokenRequestMalformed, match="repeated: "):
                check_unrepeated(form)
        else:
            check_unrepeated(form)


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "client_assertion",
        "code",
        "code_verifier",
        "refresh_token",
        "subject_token",
        "actor_token",
        "assertion",
        "token",
        "password",
        "unknown",
    ],
)
def test_no_form_with_a_secret_is_kept(name: str) -> None:
    """A body with anything beside what is public is read anew each time, and nothing of it stays."""
    raw = f"grant_type=client_credentials&{name}=not-to-be-kept-{name}".encode()
    assert parse_form(raw) is not parse_form(raw)
    assert not any(b"not-to-be-kept" in kept for kept in forms._KEPT)


def test_kept_forms_have_an_end() -> None:
    """However many bodies come, so many are kept and no more, and long ones are not."""
    for number in range(forms.MOST_KEPT + 10):
        parse_form(f"scope={number}".encode())
    assert len(forms._KEPT) == forms.MOST_KEPT
    assert parse_form(b"scope=1") is parse_form(b"scope=1")
    long = b"scope=" + b"a" * 1024
    assert parse_form(long) is not parse_form(long)


FIELD_NAMES = st.sampled_from(["authorization", "dpop", "content-type", "user-agent", "x"])
FIELDS = st.lists(st.tuples(FIELD_NAMES, st.text(alphabet="aB1 é;", max_size=4)), max_size=6)


@given(fields=FIELDS)
def test_header_fields_are_what_starlette_reads(fields: list[tuple[str, str]]) -> None:
    """Single, repeated, empty and absent fields are the same."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    ours, theirs = HeaderFields(raw), Headers(raw=raw)
    for name in ("authorization", "dpop", "content-type", "user-agent", "x", "absent"):
        assert ours.getlist(name) == theirs.getlist(name)
        assert (ours.get(name), ours.get(name, "d")) == (theirs.get(name), theirs.get(name, "d"))
    assert ours.items() == theirs.items()


@given(
    scope=st.text(min_size=1, max_size=6), refreshed=st.booleans(), is_exchange=st.booleans(), is_bound=st.booleans()
)
def test_an_answer_is_the_json_of_its_members(scope: str, refreshed: bool, is_exchange: bool, is_bound: bool) -> None:
    """Octet for octet and field for field the answer is what Starlette's JSON response would be."""
    draft = TokenDraft(
        issuer="https://issuer.example.com",
        jti="j",
        subject="s",
        client_id="c",
        audience=ResourceUri(CALENDAR),
        scopes=frozenset({scope, "b"}),
        issued_at=5,
        expires_at=305,
        txn="t",
        sender=SenderKey("k") if is_bound else None,
    )
    members = {
        "access_token": 'a.b"c',
        "token_type": "DPoP" if is_bound else "Bearer",
        "expires_in": 300,
        "scope": " ".join(sorted({scope, "b"})),
    }
    if refreshed:
        members["refresh_token"] = "next"
    if is_exchange:
        members["issued_token_type"] = ACCESS_TOKEN_TYPE
    try:
        wanted = JSONResponse(members, headers=dict(NO_STORE))
    except UnicodeEncodeError:  # half a surrogate pair: no scope has one
        return
    answer = render_token(
        MintedToken(Secret('a.b"c'), draft), _next("next") if refreshed else None, is_exchange=is_exchange
    )
    assert answer.body == wanted.body
    assert (answer.status_code, answer.raw_headers) == (wanted.status_code, wanted.raw_headers)
    answer.headers["x"] = "y"
    assert answer.headers["x"] == "y"


def _next(secret: str) -> NextRefreshToken:
    family = RefreshFamily(
        id="f",
        client_id="c",
        subject="s",
        resource=CALENDAR,
        scopes=frozenset({"b"}),
        terms="t",
        began_at=1,
        expires_at=2,
        tenant=None,
        task=None,
        sender=None,
    )
    token = RefreshToken(token_hash="h", family="f", issued_at=1, expires_at=2)
    return NextRefreshToken(secret=Secret(secret), token=token, family=family, spends=None)


def test_ids_are_sixteen_octets_each_and_never_the_same() -> None:
    """Each is the base64url of the time of its drawing and ten octets that no other id has any of.

    They are drawn in order, many at a time, and those of one drawing begin alike.
    """
    asked: list[int] = []
    times = iter([1_790_000_000.25, 0.0, 2.0**48])

    def randomness(size: int) -> bytes:
        asked.append(size)
        return bytes((at * 7 + at // 10 * 3 + len(asked)) % 256 for at in range(size))

    ids = TokenIds(randomness, times.__next__)
    found = [ids.new() for _ in range(300)]
    assert len(asked) == 3
    drawn = [base64.urlsafe_b64decode(each + "==") for each in found]
    assert {len(each) for each in drawn} == {16}
    assert [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in drawn] == found
    each_time = asked[0] // 10
    first = bytes((at * 7 + at // 10 * 3 + 1) % 256 for at in range(asked[0]))
    assert sorted(each[6:] for each in drawn[:each_time]) == sorted(
        first[at : at + 10] for at in range(0, asked[0], 10)
    )
    assert {each[:6] for each in drawn[:each_time]} == {(1_790_000_000_250).to_bytes(6)}
    assert {each[:6] for each in drawn[each_time : 2 * each_time]} == {bytes(6)}
    assert {each[:8] for each in found[:each_time]} == {found[0][:8]} != {found[each_time][:8]}


def test_a_kept_grant_is_found_by_the_very_form_and_client() -> None:
    """One that is equal and another object finds nothing; nor does a form that is not kept."""
    client, form = a_client("c", NoAuthentication()), parse_form(b"scope=kept")
    twin = a_client("c", NoAuthentication())
    resource = a_resource("calendar", CALENDAR, None, {"a": "A"})
    kept = KeptGrants()
    kept.keep(form, client, resource, frozenset({"a"}))
    found = kept.find(form, client)
    assert found is not None
    assert (found.resource, found.scopes) == (resource, frozenset({"a"}))
    assert kept.find(form, twin) is None
    assert kept.find(parse_form(b"scope=other"), client) is None
    secret = parse_form(b"scope=kept&client_secret=x")
    kept.keep(secret, client, resource, frozenset({"a"}))
    assert kept.find(secret, client) is None
