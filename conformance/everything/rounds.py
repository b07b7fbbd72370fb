"""Tools that answer `input_required` and wait for the client to come back with what they asked.

Spec: MCP 2026-07-28 multi round-trip requests
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from mcp.types import (
    CallToolRequestParams,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)

from conformance.everything.fixture import Context, ToolAnswer, ToolFixture, text
from conformance.everything.schemas import asking

ANSWER_MISSING = "(no answer)"


def elicit(message: str, name: str, kind: str = "string") -> ElicitRequest:
    """Ask the person for one value."""
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=asking(name, kind)))


def sample(prompt: str) -> CreateMessageRequest:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=64))


def elicited(answer: object, name: str) -> str:
    """The value that the person gave, as text."""
    if isinstance(answer, ElicitResult) and answer.content and name in answer.content:
        return str(answer.content[name])
    return ANSWER_MISSING


async def _ask_name(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    answers = call.input_responses or {}
    if "user_name" in answers:
        return text(f"Good day, {elicited(answers['user_name'], 'name')}.")
    return InputRequiredResult(input_requests={"user_name": elicit("What is your name?", "name")})


async def _ask_model(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    answer = (call.input_responses or {}).get("capital")
    if answer is None:
        return InputRequiredResult(input_requests={"capital": sample("What is the capital of France?")})
    spoken = answer.content if isinstance(answer, CreateMessageResult) else None
    return text(f"The model said: {spoken.text if isinstance(spoken, TextContent) else ANSWER_MISSING}")


async def _ask_roots(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    answer = (call.input_responses or {}).get("roots")
    if answer is None:
        return InputRequiredResult(input_requests={"roots": ListRootsRequest()})
    return text(f"{len(answer.roots) if isinstance(answer, ListRootsResult) else 0} roots are open.")


def _confirming(state: str) -> Callable[[Context, CallToolRequestParams], Awaitable[ToolAnswer]]:
    async def run(_: Context, call: CallToolRequestParams) -> ToolAnswer:
        if call.request_state == state and "confirm" in (call.input_responses or {}):
            return text("state-ok: the state came back as it left.")
        return InputRequiredResult(
            input_requests={"confirm": elicit("Please confirm.", "ok", "boolean")}, request_state=state
        )

    return run


async def _ask_all(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    wanted: dict[str, InputRequest] = {
        "user_name": elicit("What is your name?", "name"),
        "greeting": sample("Write a greeting."),
        "roots": ListRootsRequest(),
    }
    if wanted.keys() <= (call.input_responses or {}).keys():
        return text("All three answers came.")
    return InputRequiredResult(input_requests=wanted, request_state="three-asked")


async def _three_rounds(_: Context, call: CallToolRequestParams) -> ToolAnswer:
    known: dict[str, str] = json.loads(call.request_state) if call.request_state else {}
    answers = call.input_responses or {}
    if "step2" in answers and "name" in known:
        return text(f"{known['name']} likes {elicited(answers['step2'], 'color')}.")
    if "step1" in answers and known.get("asked") == "name":
        name = elicited(answers["step1"], "name")
        state = json.dumps({"asked": "color", "name": name})
        return InputRequiredResult(
            input_requests={"step2": elicit(f"Which colour do you like, {name}?", "color")}, request_state=state
        )
    return InputRequiredResult(
        input_requests={"step1": elicit("What is your name?", "name")}, request_state=json.dumps({"asked": "name"})
    )


async def _ask_what_the_client_can(ctx: Context, _: CallToolRequestParams) -> ToolAnswer:
    able = ctx.session.client_capabilities
    requests: dict[str, InputRequest] = {}
    if able is not None and able.sampling is not None:
        requests["greeting"] = sample("Write a greeting.")
    if able is not None and able.elicitation is not None:
        requests["user_name"] = elicit("What is your name?", "name")
    return InputRequiredResult(input_requests=requests, request_state="asked-by-capability")


_PREFIX = "test_input_required_result_"
ROUNDS: tuple[ToolFixture, ...] = (
    ToolFixture(name=_PREFIX + "elicitation", description="Asks for a name, then greets", run=_ask_name),
    ToolFixture(name=_PREFIX + "sampling", description="Asks the client's model, then quotes it", run=_ask_model),
    ToolFixture(name=_PREFIX + "list_roots", description="Asks for the roots, then counts them", run=_ask_roots),
    ToolFixture(
        name=_PREFIX + "request_state", description="Keeps its state at the client", run=_confirming("nonce-1")
    ),
    ToolFixture(name=_PREFIX + "tampered_state", description="Refuses a changed state", run=_confirming("nonce-2")),
    ToolFixture(name=_PREFIX + "multiple_inputs", description="Asks for three things at once", run=_ask_all),
    ToolFixture(name=_PREFIX + "multi_round", description="Asks twice, one after the other", run=_three_rounds),
    ToolFixture(
        name=_PREFIX + "capabilities",
        description="Asks only for what the client said it can do",
        run=_ask_what_the_client_can,
    ),
    ToolFixture(name="test_streaming_elicitation", description="Asks in its answer, never on its own", run=_ask_name),
)
