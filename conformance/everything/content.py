"""The prompts and resources of the suite."""

from __future__ import annotations

import json
import re

from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    BlobResourceContents,
    ContentBlock,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    InputRequiredResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
)

from conformance.everything.rounds import elicit, elicited
from conformance.everything.samples import PNG
from conformance.everything.tools import embedded

PROMPTS: tuple[Prompt, ...] = (
    Prompt(name="test_simple_prompt", description="One message, no arguments"),
    Prompt(
        name="test_prompt_with_arguments",
        description="One message made of two arguments",
        arguments=[
            PromptArgument(name="arg1", description="The first word", required=True),
            PromptArgument(name="arg2", description="The second word", required=True),
        ],
    ),
    Prompt(
        name="test_prompt_with_embedded_resource",
        description="A resource and a request to read it",
        arguments=[PromptArgument(name="resourceUri", description="The resource to put in", required=True)],
    ),
    Prompt(name="test_prompt_with_image", description="A picture and a question about it"),
    Prompt(name="test_input_required_result_prompt", description="Asks for its context first"),
)

RESOURCES: tuple[Resource, ...] = (
    Resource(uri="test://static-text", name="static-text", description="A fixed text", mime_type="text/plain"),
    Resource(uri="test://static-binary", name="static-binary", description="A picture", mime_type="image/png"),
    Resource(uri="test://watched-resource", name="watched", description="Can be watched", mime_type="text/plain"),
)

TEMPLATES: tuple[ResourceTemplate, ...] = (
    ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="One document for each id",
        mime_type="application/json",
    ),
)

_TEMPLATE = re.compile(r"test://template/([^/]+)/data")


def _user(*content: ContentBlock) -> GetPromptResult:
    return GetPromptResult(messages=[PromptMessage(role="user", content=item) for item in content])


def _says(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def get_prompt(asked: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
    """The prompt of that name. Raises: MCPError (-32602) for a name or argument that is missing."""
    given = asked.arguments or {}
    prompt = next((prompt for prompt in PROMPTS if prompt.name == asked.name), None)
    missing = [item.name for item in (prompt.arguments or [] if prompt else []) if item.name not in given]
    if prompt is None or missing:
        raise MCPError(code=INVALID_PARAMS, message="no such prompt, or an argument is missing")
    match prompt.name:
        case "test_simple_prompt":
            return _user(_says("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            return _user(_says(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"))
        case "test_prompt_with_embedded_resource":
            resource = embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing.")
            return _user(resource, _says("Please process the embedded resource above."))
        case "test_prompt_with_image":
            picture = ImageContent(type="image", data=PNG, mime_type="image/png")
            return _user(picture, _says("Please analyze the image above."))
        case _:
            return _prompt_in_rounds(asked)


def _prompt_in_rounds(asked: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
    answers = asked.input_responses or {}
    if "user_context" in answers:
        return _user(_says(f"Mind this: {elicited(answers['user_context'], 'context')}"))
    return InputRequiredResult(input_requests={"user_context": elicit("What should the prompt mind?", "context")})


def read_resource(uri: str) -> ReadResourceResult:
    """The contents at that URI. Raises: MCPError (-32602) when there is nothing."""
    if uri == "test://static-binary":
        return ReadResourceResult(contents=[BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)])
    mime_type, body = "text/plain", ""
    if uri == "test://static-text":
        body = "This is the content of the static text resource."
    elif uri == "test://watched-resource":
        body = "Watched resource content"
    elif found := _TEMPLATE.fullmatch(uri):
        mime_type = "application/json"
        body = json.dumps({"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"})
    else:
        raise MCPError(code=INVALID_PARAMS, message="no such resource", data={"uri": uri})
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=mime_type, text=body)])
