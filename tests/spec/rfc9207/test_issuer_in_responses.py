"""RFC 9207 §2: every authorization response says which issuer it comes from."""

from __future__ import annotations

from pathlib import Path

from tests.support.authorization_servers import running_server
from tests.support.browsers import Browser, a_request, answer_in


async def test_every_response_names_the_issuer(tmp_path: Path) -> None:
    """Success, denial and error carry `iss`, exactly as the metadata spells it."""
    async with running_server(tmp_path) as server:
        browser = Browser(server)
        published = (await server.http.get("/.well-known/oauth-authorization-server")).json()
        page = await browser.sign_in(a_request())
        answers = (
            answer_in(await browser.send(page, {"decision": "deny"})),
            answer_in(await browser.allow(page)),
            answer_in(await browser.open(a_request(response_type="token"))),
        )
        assert ["error" in answer for answer in answers] == [True, False, True]
        assert {answer["iss"] for answer in answers} == {published["issuer"]}
        assert published["authorization_response_iss_parameter_supported"] is True
