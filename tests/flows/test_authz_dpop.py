"""DPoP where another proxy carries the calls: it says what it holds, and the proof must be for that.

Spec: RFC 9449 §7.1
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.flows.test_authz import Asker, asked, call
from tests.support.dpop import ProofKey, a_proof

KEY, OTHER = ProofKey(), ProofKey()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Asker]:
    async with asked(tmp_path) as made:
        yield made


async def ask(proxy: Asker, key: ProofKey = KEY, *, method: str = "POST", **changes: Any) -> httpx2.Response:
    world = proxy.world
    token = world.token(cnf={"jkt": KEY.thumbprint})
    now = world.clock()
    nonce = changes.pop("nonce", world.gate.proofs.nonces.current(int(now)))
    proof = a_proof(key, method, world.gate.resource.uri, now=now, token=token, nonce=nonce)
    headers = {"authorization": f"DPoP {token}", "dpop": proof} | changes
    return await proxy.ask(call(), token=None, **headers)


async def test_a_proof_of_the_request_that_the_proxy_holds_passes(proxy: Asker) -> None:
    """The yes has a token that is bound to its audience alone, and the nonce for the sender's next proof."""
    answer = await ask(proxy)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-perhop-authorization"].startswith("Bearer ")
    assert answer.headers["dpop-nonce"]


async def test_what_the_proxy_says_counts_and_not_the_question(proxy: Asker) -> None:
    """A proof for GET, which the question itself is, is refused; so is one for another method than the proxy says."""
    for refused in (await ask(proxy, method="GET"), await ask(proxy, **{"x-original-method": "DELETE"})):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')
    records = await proxy.world.records(2)
    assert {each["reason"] for each in records} == {"sender.mismatch"}


async def test_the_sender_hears_the_nonce_through_the_proxy(proxy: Asker) -> None:
    """The refusal carries the nonce for the proxy to send on; another key and no proof are refused."""
    begun = await ask(proxy, nonce=None)
    assert begun.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    assert (await ask(proxy, nonce=begun.headers["dpop-nonce"])).status_code == 200
    assert (await ask(proxy, OTHER)).status_code == 401
    bearer = proxy.world.token(cnf={"jkt": KEY.thumbprint})
    assert (await proxy.ask(call(), token=bearer)).status_code == 401
