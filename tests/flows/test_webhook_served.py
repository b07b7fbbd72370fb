"""Webhooks of a real `perhop serve`: over a kill, in metrics, health and doctor; and the receiver of the page.

Spec: Standard Webhooks 1.0
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.wiring.webhooks import Delivery
from tests.support.commands import perhop
from tests.support.installations import PERHOP, Installation, installed_beside
from tests.support.processes import free_port, started_beside
from tests.support.sources import ROOT
from tests.support.upstreams import modern, recording_upstream
from tests.support.webhook_receivers import SECONDS, Receiver, receiver
from tests.support.webhook_sites import KEY, POLICIES, SAID, SECRET, webhook_site


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Installation, Receiver]]:
    """A real `perhop serve` whose owner has a webhook, by `perhop apply`, and whose calls wait."""
    async with (
        recording_upstream() as (url, _),
        receiver() as of_the_team,
        installed_beside(tmp_path / "installation", url, unsafe_open=True) as installation,
    ):
        folder = installation.folder
        secret = folder / "keys/webhook.secret"
        secret.write_text(f"{SECRET}\n", encoding="utf-8")
        secret.chmod(0o600)
        hook = f'webhook: {{url: "{of_the_team.url}", secret_file: keys/webhook.secret}}'
        file = folder / "perhop.yaml"
        text = file.read_text(encoding="utf-8")
        owner = "testers: {contact: testers@example.com"
        assert owner in text
        file.write_text(text.replace(owner, f"{owner}, {hook}"), encoding="utf-8")
        (folder / "policies/tests.cedar").write_text(POLICIES, encoding="utf-8")
        await asyncio.to_thread(installation.run, "apply")
        yield installation, of_the_team


async def _call(installation: Installation) -> str:
    """Make a call, which waits; returns the approval's id."""
    headers, body = modern("tools/call", {"name": "create_event", "arguments": {"title": SAID}})
    async with httpx2.AsyncClient(timeout=10) as http:
        token = await installation.token_for(http)
        authorization = {"authorization": f"Bearer {token}"}
        answer = await http.post(installation.url, content=body, headers={**headers, **authorization})
    assert answer.status_code == 403, answer.text
    return str(answer.json()["error"]["data"]["approval"])


async def _asked_of_ops(installation: Installation, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=10) as http:
        return await http.get(f"http://{installation.ops}{path}")


def _checked(installation: Installation) -> dict[str, Any]:
    """What `perhop doctor` says of the webhook. Of a server that is no MCP server it says more."""
    checks = json.loads(installation.run("doctor", "--json", code=7))["checks"]
    (found,) = (each for each in checks if each["check"] == "webhooks")
    return dict(found)


async def test_a_server_tells_goes_on_after_a_restart_and_says_how_it_stands(
    served: tuple[Installation, Receiver],
) -> None:
    """Metrics, `/readyz` and `perhop doctor` know of a receiver that refuses; after a restart it is told in the end."""
    installation, of_the_team = served
    of_the_team.answers = [503] * 10_000
    approval = await _call(installation)
    first = await of_the_team.next()
    assert (first.approval, first.is_signed_with(KEY)) == (approval, True)
    problem = {"waiting": 1, "problem": "it answered HTTP 503"}
    async with asyncio.timeout(SECONDS):
        while (await _asked_of_ops(installation, "/readyz")).json()["webhooks"] != {"testers": problem}:
            await asyncio.sleep(0.05)
    assert (await _asked_of_ops(installation, "/readyz")).json()["ready"] is True
    metrics = (await _asked_of_ops(installation, "/metrics")).text
    assert 'perhop_webhook_deliveries_total{outcome="taken",owner="testers"} 0.0' in metrics
    assert 'perhop_webhook_deliveries_total{outcome="refused",owner="testers"} 0.0' not in metrics
    found = await asyncio.to_thread(_checked, installation)
    assert (found["name"], found["status"], found["seen"]) == ("webhooks testers", "failed", "it answered HTTP 503")
    installation.process.ask_to_stop(signal.SIGKILL)
    await asyncio.to_thread(installation.process.exit_code, within=20)
    assert SECRET not in installation.process.output()
    of_the_team.answers.clear()
    while not of_the_team.got.empty():
        of_the_team.got.get_nowait()
    ports = [int(each.rpartition(":")[2]) for each in (installation.issuer, installation.ops)]
    async with started_beside([PERHOP, "serve"], ports=ports, folder=installation.folder):
        again = await of_the_team.next()
        assert (again.approval, again.headers["webhook-id"]) == (approval, first.headers["webhook-id"])
        async with asyncio.timeout(SECONDS):
            while (await _asked_of_ops(installation, "/readyz")).json()["webhooks"]["testers"]["waiting"]:
                await asyncio.sleep(0.05)
        found = await asyncio.to_thread(_checked, installation)
        assert (found["status"], found["seen"]) == ("ok", "it answers")
        metrics = (await _asked_of_ops(installation, "/metrics")).text
        assert 'perhop_webhook_deliveries_total{outcome="taken",owner="testers"} 1.0' in metrics
    assert of_the_team.got.empty()


def test_doctor_finds_a_webhook_that_nobody_answers(folder: Path) -> None:
    """Without a server, too: it asks whether somebody answers, and tells nobody anything."""
    file = folder / "perhop.yaml"
    text = file.read_text(encoding="utf-8")
    owner = "contact: travel@example.com"
    assert owner in text
    hook = f'{owner}, webhook: {{url: "http://127.0.0.1:1/hook?key=x", secret: {SECRET}}}'
    file.write_text(text.replace(owner, hook), encoding="utf-8")
    ran = perhop("doctor", "--json", folder=folder)
    (found,) = (each for each in ran.json["checks"] if each["check"] == "webhooks")
    assert (found["status"], found["seen"]) == ("failed", "nothing answers there")
    assert "?key=x" not in ran.out
    assert "perhop approval list" in found["fix"]


async def test_the_receiver_of_the_page_takes_what_is_signed(tmp_path: Path) -> None:
    """It is run as it stands there: it prints a message of ours, and refuses another secret's and an old one."""
    page = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")
    written = re.search(r"<!-- file: receiver\.py -->\n```python\n(.*?)^```$", page, re.M | re.S)
    assert written is not None
    file, port = tmp_path / "receiver.py", free_port()
    file.write_text(written[1], encoding="utf-8")
    environment = {"WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    async with (
        webhook_site(tmp_path) as site,
        started_beside([sys.executable, file], ports=[port], environment=environment) as running,
    ):
        site.tell(f"http://127.0.0.1:{port}/", secret="whsec_" + base64.b64encode(KEY[::-1]).decode())
        async with site.working():
            approval = await site.ask()
            webhooks = await site.until(lambda each: bool(each.status()["travel-team"]["problem"]))
            assert webhooks.status()["travel-team"]["problem"] == "it answered HTTP 401"
            assert "waits:" not in running.output()
            site.tell(f"http://127.0.0.1:{port}/")
            site.world.clock.ahead = -400
            await site.until(lambda each: each.counts["travel-team", Delivery.REFUSED] > 3)
            assert "waits:" not in running.output()
            site.world.clock.ahead = 0
            await site.told(approval)
            await site.until(lambda _: f"'approval': '{approval}'" in running.output())
