"""Proofs of possession: replayed, of other requests, under other keys, badly signed, of other times; at every door."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.attacks.configuration import CALLBACK
from tests.attacks.row import PASSES_GATEWAY, PASSES_GUARD, Door, Expected, Row, Seen
from tests.attacks.rows.refresh import refreshing
from tests.attacks.tries import BOTH, Ask, Try, asking, refused, tried, tried_at
from tests.attacks.visitors import Visitor, a_query, redeeming
from tests.attacks.world import ARGUMENT, Entrance, World, a_call
from tests.support.doors import Wire
from tests.support.dpop import ProofKey, a_proof, encoded
from tests.support.forge import ABSENT

KEY, THIEF = ProofKey(), ProofKey()

PROOF, TOKEN, NONCE = "401 invalid_dpop_proof", "401 invalid_token", "401 use_dpop_nonce"
AT_STS = {PROOF: "400 invalid_dpop_proof", NONCE: "400 use_dpop_nonce"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends to one door: with a token of KEY's, or, at the token endpoint, for one."""

    world: World
    entrance: Entrance | None
    token: str | None
    nonce: str

    @property
    def uri(self) -> str:
        return f"{self.world.issuer}/token" if self.entrance is None else self.entrance.audience

    def proof(self, key: ProofKey = KEY, *, method: str = "POST", uri: str | None = None, **changes: Any) -> str:
        usual: dict[str, Any] = {"now": self.world.now + 1, "token": self.token, "nonce": self.nonce}
        return self.world.leaks.note(a_proof(key, method, uri or self.uri, **(usual | changes)))

    async def send(self, *proofs: str, scheme: str = "DPoP", headers: Any = ()) -> Seen:
        """One request with these proofs."""
        fields = (*(("dpop", each) for each in proofs), *headers)
        if self.entrance is None:
            parameters = [("grant_type", "client_credentials"), ("resource", self.world.at.uri("calendar"))]
            ask = Ask([*parameters, *self.world.proof("planner")], fields)
            return (await asking(lambda _: ask)(self.world))[""]
        wire = a_call("list_events", {"day": ARGUMENT})
        authorized = (*wire.headers, ("authorization", f"{scheme} {self.token}"), *fields)
        return await self.world.knock(self.entrance, Wire(headers=authorized, body=wire.body))


async def _sender(world: World, door: Door) -> Sender:
    """One who has been told a nonce, as everybody is who comes with a good proof."""
    entrance = None if door is Door.STS else world.entrance(door)
    token = None if entrance is None else world.forge(entrance.audience, cnf={"jkt": KEY.thumbprint})
    begun = Sender(world=world, entrance=entrance, token=token, nonce="")
    told = await begun.send(begun.proof(nonce=None))
    assert told.answer is not None
    nonce = told.answer.header("dpop-nonce")
    assert nonce is not None, told
    return Sender(world=world, entrance=entrance, token=token, nonce=nonce)


Made = Mapping[str, Callable[[], tuple[str, ...]]]
"""The proofs of a request, made when it is sent: some depend on the very second."""

Make = Callable[[Sender], Made]


def _each(sender: Sender, odd: Mapping[str, Mapping[str, Any]]) -> Made:
    """One proof with each of these changes."""

    def making(changes: Mapping[str, Any]) -> Callable[[], tuple[str, ...]]:
        return lambda: (sender.proof(**changes),)

    return {name: making(changes) for name, changes in odd.items()}


def _sending(door: Door, make: Make) -> Try:
    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        return {name: await sender.send(*proofs()) for name, proofs in make(sender).items()}

    return attempt


def proved(slug: str, title: str, source: str, make: Make, observed: str, *, at_sts: bool = True) -> Row:
    """Proofs that no door takes, and the token endpoint neither."""
    tries: dict[Door, tuple[Try, Expected]] = {
        door: (_sending(door, make), refused("sender.mismatch", observed)) for door in BOTH
    }
    if at_sts:
        tries[Door.STS] = _sending(Door.STS, make), refused("sender.mismatch", AT_STS[observed])
    return tried_at(slug, title, source, tries)


def _replaying(door: Door) -> Try:
    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        used = sender.proof()
        first = await sender.send(used)
        assert first.observed == "200", first
        signed, _, signature = used.rpartition(".")
        same_id = sender.proof(jti=_jti_of(used))
        world.leaks.note(signature)
        return {
            "the same": await sender.send(used),
            "another with its id": await sender.send(same_id),
            "signed again": await sender.send(world.leaks.note(f"{signed}.{encoded(KEY.sign(signed.encode()))}")),
        }

    return attempt


def _jti_of(proof: str) -> str:
    from tests.attacks.world import claims_in

    return str(claims_in(proof)["jti"])


def _other_requests(sender: Sender) -> Made:
    uri = sender.uri
    odd: dict[str, dict[str, Any]] = {
        "another method": {"method": "GET"},
        "the method in small letters": {"method": "post"},
        "another path": {"uri": f"{uri}x"},
        "a path below": {"uri": f"{uri}/"},
        "another port": {"uri": uri.replace("127.0.0.1:", "127.0.0.1:1")},
        "another name of the machine": {"uri": uri.replace("127.0.0.1", "localhost")},
        "another scheme": {"uri": uri.replace("http:", "https:")},
        "another resource": {"uri": sender.world.at.uri("rooms")},
        "the issuer": {"uri": sender.world.issuer},
        "no URI": {"htu": ABSENT},
        "no method": {"htm": ABSENT},
    }
    return _each(sender, odd)


def _other_tokens(sender: Sender) -> Made:
    return _each(
        sender, {"another's": {"token": "another.access.token"}, "none": {"token": None}, "no text": {"ath": 7}}
    )


def _weakly_signed(sender: Sender) -> Made:
    def under_text(signed: bytes) -> bytes:
        return hmac.digest(str(KEY.jwk).encode(), signed, "sha256")

    odd: dict[str, dict[str, Any]] = {
        "unsigned": {"header": {"alg": "none"}, "sign": lambda _: b""},
        "symmetric": {"header": {"alg": "HS256"}, "sign": under_text},
        "zeros": {"sign": lambda _: bytes(64)},
        "another key's": {"sign": THIEF.sign},
        "a private key inside": {"header": {"jwk": KEY.private_jwk}},
        "no key inside": {"header": {"jwk": ABSENT}},
        "another type": {"header": {"typ": "JWT"}},
        "a key from elsewhere": {"header": {"jku": "https://evil.example/keys"}},
    }
    return {
        **_each(sender, odd),
        "two": lambda: (sender.proof(), sender.proof()),
        "two in one": lambda: (f"{sender.proof()}, {sender.proof()}",),
        "garbage": lambda: ("x",),
    }


def _other_times(sender: Sender) -> Made:
    def at(seconds: int) -> Callable[[], tuple[str, ...]]:
        return lambda: (sender.proof(iat=sender.world.now + 1 + seconds),)

    return {
        "an hour old": at(-3600),
        "a little too old": at(-61),
        "made ahead": at(120),
        "a little ahead": at(61),
        **_each(sender, {"as text": {"iat": "1800000000"}, "none": {"iat": ABSENT}}),
    }


def _other_nonces(sender: Sender) -> Made:
    issuer = sender.world.plane.issuer
    elsewhere = issuer.proof_desk("/records").nonces.current(sender.world.now)
    odd = {"none": None, "empty": "", "invented": "x" * 24, "another server's": elsewhere, "turned": sender.nonce[::-1]}
    return _each(sender, {name: {"nonce": nonce} for name, nonce in odd.items()})


def _under_another_key(door: Door) -> Try:
    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        return {
            "the thief's": await sender.send(sender.proof(THIEF)),
            "the key of another token": await sender.send(sender.proof(THIEF, header={"kid": KEY.thumbprint})),
        }

    return attempt


def _downgraded(door: Door) -> Try:
    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        return {
            "alone": await sender.send(scheme="Bearer"),
            "with a good proof": await sender.send(sender.proof(), scheme="Bearer"),
        }

    return attempt


def _pretending(door: Door) -> Try:
    """A bearer token with a proof of any key: it is bound to none."""

    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        assert sender.entrance is not None
        bearer = Sender(
            world=world, entrance=sender.entrance, token=world.forge(sender.entrance.audience), nonce=sender.nonce
        )
        return {"": await bearer.send(bearer.proof())}

    return attempt


def _proving(door: Door) -> Try:
    async def attempt(world: World) -> dict[str, Seen]:
        sender = await _sender(world, door)
        return {"": await sender.send(sender.proof())}

    return attempt


async def _codes_and_refresh_tokens(world: World) -> dict[str, Seen]:
    """Both are bound to KEY; whoever else has them gets nothing, and takes nothing away."""
    sender = await _sender(world, Door.STS)

    async def ask(form: Any, *proofs: str) -> Seen:
        fields = tuple(("dpop", each) for each in proofs)
        return (await asking(lambda _: Ask(form, fields))(world))[""]

    sights = {}
    async with Visitor(world) as ann:
        query = a_query(world, dpop_jkt=KEY.thumbprint, redirect_uri=CALLBACK)
        for name, proofs in (("code, no proof", ()), ("code, the thief's key", (sender.proof(THIEF),))):
            sights[name] = await ask(redeeming(await ann.code(query)), *proofs)
        good = await ask(redeeming(await ann.code(query)), sender.proof())
    assert good.answer is not None
    token = good.answer.message["refresh_token"]
    sights["refresh, no proof"] = await ask(refreshing(token))
    sights["refresh, the thief's key"] = await ask(refreshing(token), sender.proof(THIEF))
    assert (await ask(refreshing(token), sender.proof())).observed == "200"
    return sights


def _at(doors: tuple[Door, ...], make: Callable[[Door], Callable[[World], Awaitable[Any]]], expected: Any) -> Any:
    return {door: (make(door), expected(door)) for door in doors}


ROWS: tuple[Row, ...] = (
    tried_at(
        "proof-replayed",
        "a proof of possession that came before, as it was, or its id once more",
        "RFC 9449 §11.1",
        _at(
            (*BOTH, Door.STS),
            _replaying,
            lambda door: refused("token.replayed", PROOF if door is not Door.STS else AT_STS[PROOF]),
        ),
    ),
    proved(
        "proof-for-another-request",
        "a proof for another method or another URI",
        "RFC 9449 §4.3",
        _other_requests,
        PROOF,
    ),
    proved(
        "proof-for-another-token",
        "a proof that was made for another access token, or for none",
        "RFC 9449 §4.3",
        _other_tokens,
        PROOF,
        at_sts=False,
    ),
    tried_at(
        "proof-under-another-key",
        "a good proof of a key, and a token that is bound to another",
        "RFC 9449 §7.1",
        _at(BOTH, _under_another_key, lambda _: refused("sender.mismatch", TOKEN)),
    ),
    proved(
        "proof-with-a-weak-signature",
        "a proof unsigned, signed by a secret or another key, with a private key in it, or two of them",
        "RFC 9449 §4.3; RFC 8725 §3.1",
        _weakly_signed,
        PROOF,
    ),
    proved(
        "proof-too-old-or-made-ahead",
        "a proof of another time",
        "RFC 9449 §11.1; RFC 9449 §11.2",
        _other_times,
        PROOF,
    ),
    proved(
        "proof-with-a-foreign-nonce",
        "a proof without a nonce, or with one that this server did not give",
        "RFC 9449 §8; RFC 9449 §11.2",
        _other_nonces,
        NONCE,
    ),
    tried_at(
        "bound-token-without-its-scheme",
        "a token that is bound to a key as a mere bearer token, a good proof beside it or not",
        "RFC 9449 §7.2; RFC 9449 §11.8",
        _at(BOTH, _downgraded, lambda _: refused("sender.mismatch", TOKEN)),
    ),
    tried_at(
        "bearer-token-as-bound",
        "a token that is bound to no key, with a proof of any",
        "RFC 9449 §7.1",
        _at(BOTH, _pretending, lambda _: refused("sender.mismatch", TOKEN)),
    ),
    tried_at(
        "bound-token-with-its-proof",
        "a token that is bound to a key, with a proof of the key: it must pass",
        "RFC 9449 §7.1",
        _at(BOTH, _proving, lambda door: PASSES_GATEWAY if door is Door.GATEWAY else PASSES_GUARD),
    ),
    tried(
        "code-or-refresh-of-another-key",
        "a code or refresh token that is bound to a key, with another key or none",
        "RFC 9449 §10; RFC 9449 §11.9",
        Door.STS,
        _codes_and_refresh_tokens,
        refused("sender.mismatch", "400 invalid_grant"),
    ),
)
