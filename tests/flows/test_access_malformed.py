"""`/access/v1/*` under requests that are almost right: an answer, or a bad request, and never a failure of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.access import EVALUATION, EVALUATIONS, SEARCH, access_server, ask
from tests.support.authorization_servers import RunningServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
WORDS = st.sampled_from(
    [
        *(
            "tool",
            "server",
            "mcp_server",
            "resource",
            "prompt",
            "task",
            "agent",
            "user",
            "identity",
            "tools/call",
            "call_tool",
        ),
        *(
            "subscriptions/listen",
            "list",
            "trip-planner",
            "user:ann",
            "calendar",
            "calendar/list_events",
            "calendar/",
            "/",
            "é",
        ),
    ]
)
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(
    st.sampled_from(
        ["scope", "act", "hop", "agent", "client_id", "server", "arguments", "notifications", "authorization_details"]
    ),
    VALUES,
)
ENTITIES = st.fixed_dictionaries(
    {},
    optional={"type": WORDS | VALUES, "id": WORDS | VALUES, "name": WORDS | VALUES, "properties": PROPERTIES | VALUES},
)
CONTEXTS = st.dictionaries(
    st.sampled_from(["agent", "arguments", "ip", "session", "protocol_version", "task", "time"]), WORDS | VALUES
)
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "subject": ENTITIES | VALUES,
        "action": ENTITIES | VALUES,
        "resource": ENTITIES | VALUES,
        "context": CONTEXTS | VALUES,
    },
)
BODIES = st.fixed_dictionaries(
    {"subject": ENTITIES, "action": ENTITIES, "resource": ENTITIES},
    optional={
        "context": CONTEXTS,
        "evaluations": st.lists(QUESTIONS | VALUES, max_size=3),
        "options": st.fixed_dictionaries(
            {}, optional={"evaluations_semantic": st.sampled_from(["execute_all", "deny_on_first_deny"]) | VALUES}
        )
        | VALUES,
        "page": st.fixed_dictionaries({}, optional={"token": VALUES, "limit": VALUES}) | VALUES,
    },
)
PATHS = st.sampled_from([EVALUATION, EVALUATIONS, *(f"{SEARCH}/{each}" for each in ("subject", "resource", "action"))])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, body=BODIES | QUESTIONS | VALUES)
async def test_no_request_breaks_it(server: RunningServer, path: str, body: Any) -> None:
    """Whatever is sent, there is an answer or a bad request, and never a yes without a whole question."""
    answer = await ask(server, body, path)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200 and answer.json().get("decision"):
        assert {"subject", "action", "resource"} <= set(body)
