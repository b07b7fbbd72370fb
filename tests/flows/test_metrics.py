"""Metrics of a real `perhop serve` after real calls: they say what the journal says, and nothing of any caller."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from perhop.tokens.keys import SigningKey
from perhop.wiring.metric_table import TABLE, MetricKind
from tests.support.forge import good_claims, sign
from tests.support.installations import Installation, installed_beside
from tests.support.upstreams import Received, RecordingUpstream, Scripted, json_answer, modern, recording_upstream

ARGUMENT = "an-argument-that-is-nobodys-business"
STRANGERS = 25
"""Requests without a token, more than are recorded singly in a second."""

Labels = frozenset[tuple[str, str]]


def _answer(received: Received) -> Scripted:
    if received.message.get("method") != "tools/call":
        return json_answer({"tools": []})
    match received.message["params"]["name"]:
        case "complain":
            return json_answer({"content": [], "isError": True})
        case _:
            return json_answer({"content": []})


@dataclass
class Site:
    """A server that runs, its upstream, and a client."""

    installation: Installation
    upstream: RecordingUpstream
    http: httpx2.AsyncClient

    async def call(self, token: str | None, tool: str = "echo", **changes: str) -> int:
        headers, body = modern(changes.get("method", "tools/call"), {"name": tool, "arguments": {"text": ARGUMENT}})
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        sent = await self.http.request(
            changes.get("http_method", "POST"),
            self.installation.url,
            content=body,
            headers={**headers, **authorization},
        )
        return sent.status_code

    def token_for(self, audience: str) -> str:
        """A token as the server itself would sign it, for anybody."""
        (pem,) = (self.installation.folder / "keys").glob("signing-*.pem")
        claims = good_claims(issuer=self.installation.issuer, audience=audience, now=int(time.time()))
        return sign(claims, SigningKey.from_pem(pem.read_bytes()))

    async def scrape(self) -> str:
        answer = await self.http.get(f"http://{self.installation.ops}/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return answer.text


@contextlib.asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Site]:
    async with (
        recording_upstream() as (url, upstream),
        installed_beside(folder / "perhop", url, unsafe_open=True) as installation,
        httpx2.AsyncClient(timeout=20) as http,
    ):
        upstream.script = _answer
        yield Site(installation, upstream, http)


async def _be_used(site: Site) -> list[str]:
    """Calls of each sort; returns the tokens that were used."""
    token, elsewhere = await site.installation.token_for(site.http), site.token_for("https://other.example.com/mcp")
    statuses = [await site.call(token) for _ in range(3)]
    statuses += [await site.call(token, "complain"), await site.call(token, "get-env")]
    statuses += [await site.call(elsewhere), await site.call(token, method="secrets/steal")]
    statuses += [await site.call(token, http_method="PUT")]
    assert statuses == [200, 200, 200, 200, 403, 401, 404, 405]
    assert set(await asyncio.gather(*(site.call(None) for _ in range(STRANGERS)))) == {401}
    wrong = {"grant_type": "client_credentials", "resource": site.installation.url}
    refused = await site.http.post(f"{site.installation.issuer}/token", data=wrong, auth=("agent", "x" * 40))
    assert refused.status_code == 401
    await asyncio.to_thread(site.installation.run, "revoke", "--resource", "everything", "--yes")
    assert await site.call(token) == 401
    return [token, elsewhere]


@dataclass(frozen=True)
class Seen:
    """What there was to see once the server had been used: all of it of one and the same run."""

    text: str
    samples: Mapping[str, Mapping[Labels, float]]
    records: list[dict[str, Any]]
    ready: dict[str, Any]
    tokens: list[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(_use_and_look(tmp_path_factory.mktemp("metrics")))


async def _use_and_look(folder: Path) -> Seen:
    async with _site(folder) as site:
        tokens = await _be_used(site)
        records, text = await _written(site), await site.scrape()
        ready = (await site.http.get(f"http://{site.installation.ops}/readyz")).json()
        tokens += [each.header("authorization") or "" for each in site.upstream.received]
    return Seen(text, _scraped(text), records, ready, tokens)


async def _written(site: Site) -> list[dict[str, Any]]:
    """The journal, once what was only counted is in it too, and the first check of the revocation bound has ended."""
    async with asyncio.timeout(20):
        while True:
            ready = (await site.http.get(f"http://{site.installation.ops}/readyz")).json()
            is_checked = ready["revocation"]["ended_at"] is not None
            records = await asyncio.to_thread(site.installation.written)
            if is_checked and any(each["event"] == "journal.suppressed" for each in records):
                return records
            await asyncio.sleep(0.05)


def _scraped(text: str) -> dict[str, dict[Labels, float]]:
    """Every sample by its name and its labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def _counts(samples: Mapping[Labels, float], *labels: str) -> Counter[tuple[str, ...]]:
    """The samples summed up by these labels."""
    counts: Counter[tuple[str, ...]] = Counter()
    for named, value in samples.items():
        counts[tuple(dict(named)[label] for label in labels)] += int(value)
    return counts


def test_the_counts_are_those_of_the_journal(seen: Seen) -> None:
    """Calls, refusals, decisions, tokens and revocations are counted exactly as they were recorded."""
    samples, events = seen.samples, Counter(each["event"] for each in seen.records)
    reasons: Counter[tuple[str, ...]] = Counter()
    for each in seen.records:
        if each["event"] in ("call.refused", "token.refused", "journal.suppressed"):
            reasons[(each["reason"],)] += each.get("about", {}).get("count", 1)
    assert _counts(samples["perhop_refusals_total"], "reason") == reasons
    assert sum(reasons.values()) == STRANGERS + 6
    rejections = _counts(samples["perhop_audience_rejections_total"], "reason", "resource")
    assert rejections == {("audience.mismatch", "everything"): 1}
    assert _counts(samples["perhop_calls_total"], "method", "outcome") == {
        ("tools/call", "ok"): 3,
        ("tools/call", "tool_error"): 1,
        ("tools/call", "refused"): 1,
        ("POST", "refused"): STRANGERS + 3,
        ("other", "refused"): 1,
    }
    assert _counts(samples["perhop_decisions_total"], "decision", "reason_class") == {
        ("permit", "none"): events["call.permitted"],
        ("deny", "policy"): 1,
    }
    assert _counts(samples["perhop_revocations_total"], "kind") == {
        ("resource",): 1,
        ("revocation_check",): events["revocation"] - 1,
    }
    assert samples["perhop_journal_records_total"] == {frozenset(): len(seen.records)}
    assert sum(samples["perhop_calls_in_flight"].values()) == 0


def test_tokens_are_counted_by_how_they_were_got(seen: Seen) -> None:
    """A kept hop token counts once, however many permits name it; a refusal before the grant was clear is `unknown`."""
    hop_tokens = {each["out"]["jti"] for each in seen.records if each["event"] == "call.permitted"}
    self_tests = sum("self_test" in each.get("about", {}) for each in seen.records if each["event"] == "token.issued")
    assert _counts(seen.samples["perhop_tokens_issued_total"], "grant", "result") == {
        ("client_credentials", "issued"): 1,
        ("self_test", "issued"): self_tests,
        ("revocation_check", "issued"): 1,
        ("hop", "issued"): len(hop_tokens),
        ("unknown", "refused"): 1,
    }


def test_what_takes_time_is_timed(seen: Seen) -> None:
    """Every permitted call adds to the durations, and every question to policy."""
    events = Counter(each["event"] for each in seen.records)

    def observed(name: str) -> float:
        return sum(seen.samples[f"{name}_seconds_count"].values())

    assert observed("perhop_call_duration") == events["call.ended"]
    assert observed("perhop_gateway_overhead") == events["call.permitted"]
    assert observed("perhop_token_exchange_duration") == events["call.permitted"]
    assert observed("perhop_decision_duration") == events["call.permitted"] + 1
    # The record of the start was written before any metric could be asked for, and is measured all the same.
    singly = len(seen.records) - events["journal.suppressed"]
    assert observed("perhop_journal_append_duration") == singly - _before(seen.records)


def _before(records: Sequence[Mapping[str, Any]]) -> int:
    """The records of `perhop init`, another process."""
    return next(index for index, each in enumerate(records) if each["event"] == "config.loaded")


def test_what_stands_is_shown(seen: Seen) -> None:
    """The states of the parts are those of the moment, as readiness tells them."""
    samples, ready = seen.samples, seen.ready
    states = {dict(labels)["state"] for labels, value in samples["perhop_upstream_state"].items() if value == 1}
    verdicts = {dict(labels)["verdict"] for labels, value in samples["perhop_self_test"].items() if value == 1}
    assert (states, verdicts) == ({"up"}, {ready["upstreams"]["everything"]})
    assert ready["upstream_detail"]["everything"]["condition"] == "up"
    assert ready["upstream_detail"]["everything"]["owner"] == "testers"
    assert ready["unsafe"] == ["resources.everything.upstream.unsafe_open_upstream"]
    assert _counts(samples["perhop_keys"], "state")["active",] == 1
    assert samples["perhop_policy_version_info"] == {frozenset({("version", ready["policy_version"])}): 1}
    assert samples["perhop_journal_healthy"] == {frozenset(): 1}
    assert samples["process_resident_memory_bytes"][frozenset()] > 0


def test_every_metric_of_the_table_is_there(seen: Seen) -> None:
    """With the type and the labels that the documentation says, and no other metric of ours beside them."""
    families = {family.name: family for family in text_string_to_metric_families(seen.text)}
    ours = {name for name in families if name.startswith("perhop_")}
    assert ours == {metric.name.removesuffix("_total") for metric in TABLE}
    for metric in TABLE:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        extra = {"le"} if metric.kind is MetricKind.HISTOGRAM else set()
        assert {label for sample in family.samples for label in sample.labels} <= {*metric.labels, *extra}


def test_nothing_of_a_caller_is_shown(seen: Seen) -> None:
    """No token, no id, no subject, no tool, no argument and no address is in what is scraped."""
    secret = {word for token in seen.tokens for word in re.split(r"[ .]", token) if word not in ("", "Bearer")}
    for record in seen.records:
        parts = [record.get(name, {}) for name in ("in", "out", "call", "request")]
        told = [(key, value) for part in parts for key, value in part.items() if isinstance(value, str) and value]
        secret |= {value for key, value in told if key != "method"}
        secret |= {record["txn"]} if "txn" in record else set()
    secret |= {ARGUMENT, "secrets/steal", "PUT", "get-env"}
    assert len(secret) > 30
    assert [word for word in secret if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", seen.text)] == []
