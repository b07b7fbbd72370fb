"""A gateway whose calls wait for a person, with what `perhop serve` does for webhooks, and a receiver of the team."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from perhop.core.approval import Approver
from perhop.core.owner import Owner, Webhook
from perhop.core.registry import Registry
from perhop.core.secret import Secret
from perhop.wiring.webhooks import Patience, Webhooks
from tests.support.gateways import World, gateway
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.upstreams import modern
from tests.support.webhook_receivers import SECONDS, Receiver, receiver

POLICIES = '@id("asks") @approval("owner") permit (principal, action, resource);'
KEY = bytes(range(7, 39))
SECRET = THE_SCAN.note(f"whsec_{base64.b64encode(KEY).decode()}", Kind.CLIENT_SECRET)
SAID = THE_SCAN.note("a-title-that-nobody-else-must-read", Kind.ARGUMENT)
QUICK = Patience(look=0.01, first_pause=0.01, last_pause=0.01)


@dataclass
class Site:
    """A gateway whose calls wait for a person, and a receiver of the team."""

    world: World
    receiver: Receiver
    registry: Registry
    policy_version: str = ""
    patience: Patience = QUICK
    made: list[Webhooks] = field(default_factory=list)

    def working(self, **changes: Any) -> AbstractAsyncContextManager[None]:
        """What `perhop serve` does for webhooks, for as long as the block runs."""
        webhooks = Webhooks(
            rows=self.world.approval_rows,
            registry=lambda: self.registry,
            policy_version=lambda: self.policy_version or self.world.gate.policy.version,
            page=lambda approval: f"https://console.example.com/{approval.id}",
            clock=self.world.clock,
            patience=self.patience,
        )
        self.made.append(webhooks)
        return webhooks.working()

    def tell(self, url: str, *, secret: str = SECRET, owner: str = "travel-team") -> None:
        """Let this owner have this webhook."""
        known = self.registry.owners.get(owner) or Owner(name=owner, contact="somebody@example.com")
        hooked = replace(known, webhook=Webhook(url=url, secret=Secret(secret)))
        self.registry = replace(self.registry, owners={**self.registry.owners, owner: hooked})

    async def ask(self, title: str = SAID, tool: str = "create_event") -> str:
        """Make a call, which waits now; returns the approval's id."""
        call = modern("tools/call", {"name": tool, "arguments": {"title": title}})
        answer = await self.world.send(call, token=self.world.token(sub="user:ann"))
        assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (403, "approval.required")
        return str(answer.json()["error"]["data"]["approval"])

    async def decide(self, approval: str) -> None:
        bob = Approver(subject="user:bob", email="bob@example.com", signed_in_at=int(self.world.clock()))
        await self.world.approvals.decide(approval, allow=True, approver=bob)

    async def until(self, is_so: Callable[[Webhooks], bool]) -> Webhooks:
        """Wait until this is so of what works now."""
        async with asyncio.timeout(SECONDS):
            while not is_so(self.made[-1]):
                await asyncio.sleep(0.005)
        return self.made[-1]

    async def told(self, approval: str) -> None:
        """Wait until it stands in the database that this was told."""
        await self._until_in_rows(lambda left: approval not in left)

    async def _until_in_rows(self, is_so: Callable[[set[str]], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not is_so({each.id for each in await self.world.approval_rows.untold(now=int(self.world.clock()))}):
                await asyncio.sleep(0.005)


@asynccontextmanager
async def webhook_site(folder: Path) -> AsyncIterator[Site]:
    """One whose owner has the receiver as webhook; nothing is told until it works."""
    async with gateway(folder, policies=(POLICIES,)) as world, receiver() as of_the_team:
        registry = world.gate.policy.registry  # type: ignore[attr-defined]  # an engine
        made = Site(world, of_the_team, registry)
        made.tell(of_the_team.url)
        yield made
