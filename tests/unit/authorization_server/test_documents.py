"""Documents as they are fetched: once for all, within a budget, and not again right after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perhop.authorization_server.newcomers.documents import BACK_OFF_SECONDS, BUDGET, BUDGET_SECONDS, Documents
from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.core.newcomer import StoredDocument
from perhop.errors import ClientDocumentRefused
from perhop.rules.client_id_url import parse_client_id_url
from tests.support.authorization_servers import Clock
from tests.support.client_documents import PATH, Site, a_site, as_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with a_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def documents(site: Site, clock: Clock) -> Documents:
    site.asked.clear()
    return Documents(GuardedFetch(resolve=site.resolve), clock=clock)


async def fetch(documents: Documents, site: Site, path: str = PATH, *, is_known: bool = False) -> StoredDocument:
    url = site.url(path)
    return await documents.fetch(url, parse_client_id_url(url), site.rule(), is_known=is_known)


async def test_many_at_once_are_one_request(documents: Documents, site: Site) -> None:
    """Whoever wants a document while it is being fetched waits for that one request."""
    site.publish()
    found = await asyncio.gather(*(fetch(documents, site) for _ in range(20)))
    assert len(site.asked) == 1
    assert len({each.sha256 for each in found}) == 1


async def test_a_failure_is_shared_and_remembered_for_a_while(documents: Documents, site: Site, clock: Clock) -> None:
    """A failure is told to all who wait, and to all who come in the next half minute, without another request."""
    site.answers[PATH] = as_answer(b"", status="503 Service Unavailable")
    found = await asyncio.gather(*(fetch(documents, site) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, ClientDocumentRefused) for each in found)
    site.publish()
    clock.now += BACK_OFF_SECONDS - 1
    with pytest.raises(ClientDocumentRefused, match="not asked again yet"):
        await fetch(documents, site)
    assert len(site.asked) == 1
    clock.now += 1
    assert (await fetch(documents, site)).document


async def test_a_host_is_asked_so_often_and_no_more(documents: Documents, site: Site, clock: Clock) -> None:
    """However many documents of a host are asked for, it gets no more requests than its budget, but for known ones."""
    for number in range(BUDGET + 5):
        site.publish(path=f"/{number}")
        if number < BUDGET:
            await fetch(documents, site, f"/{number}")
        else:
            with pytest.raises(ClientDocumentRefused, match="was asked for 60 documents"):
                await fetch(documents, site, f"/{number}")
    assert len(site.asked) == BUDGET
    assert (await fetch(documents, site, "/0", is_known=True)).document
    clock.now += BUDGET_SECONDS
    assert (await fetch(documents, site, "/again" if site.publish(path="/again") else "")).document
