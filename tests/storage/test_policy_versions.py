"""Policy versions: written once, approved once, and in the order in which they were in force."""

from __future__ import annotations

from perhop.policy.policy_set import digest_of
from perhop.policy.versions import Approval, TimeInForce
from tests.storage.conftest import NOW, Opened

ONE = {"a.cedar": "// one", "b.cedar": ""}
TWO = {"a.cedar": "// two é"}
APPROVAL = Approval(reviewer="bob", entered_by="operator:root", at=NOW + 5)


async def test_a_version_is_kept_whole_and_once(opened: Opened) -> None:
    """Its files come back as they were; who brings the same in again does not become its author."""
    rows, digest = opened.stores.policy_versions, digest_of(ONE)
    await rows.keep(digest, ONE, author="ann", now=NOW)
    kept = await rows.keep(digest, ONE, author="eve", now=NOW + 9)
    assert (kept.sources, kept.author, kept.kept_at) == (ONE, "ann", NOW)
    assert (kept.version, kept.is_intact, kept.approval, kept.in_force) == (digest[:16], True, None, ())
    assert await opened.other.policy_versions.get(digest) == kept
    assert await rows.get("nosuch") is None


async def test_the_first_approval_stays(opened: Opened) -> None:
    """A second one changes nothing, and says so."""
    rows, digest = opened.stores.policy_versions, digest_of(ONE)
    await rows.keep(digest, ONE, author="ann", now=NOW)
    assert await rows.approve(digest, APPROVAL) is True
    assert await rows.approve(digest, Approval(reviewer="eve", entered_by="x", at=NOW)) is False
    kept = await rows.get(digest)
    assert kept is not None
    assert kept.approval == APPROVAL


async def test_what_was_in_force_is_kept_in_order(opened: Opened) -> None:
    """A version may be in force twice; the same again is no change; the last approved one is told apart."""
    rows, one, two = opened.stores.policy_versions, digest_of(ONE), digest_of(TWO)
    assert await rows.last_in_force() is None
    for at, (digest, sources) in enumerate([(one, ONE), (one, ONE), (two, TWO), (one, ONE), (two, TWO)]):
        await rows.keep(digest, sources, author="ann", now=NOW)
        await rows.put_in_force(digest, by=f"by {at}", now=NOW + at)
    last = await rows.last_in_force()
    assert last is not None
    assert last.digest == two
    assert last.in_force == (TimeInForce(by="by 2", since=NOW + 2), TimeInForce(by="by 4", since=NOW + 4))
    assert await rows.last_in_force(approved=True) is None
    await rows.approve(one, APPROVAL)
    approved = await rows.last_in_force(approved=True)
    assert approved is not None
    assert approved.digest == one
    assert {each.digest for each in await rows.all()} == {one, two}
