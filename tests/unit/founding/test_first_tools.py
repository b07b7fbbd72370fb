"""The first scopes and policies, whatever a server calls its tools and says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from perhop.core.registry import Registry
from perhop.founding.first_file import SECRET_FILE, FirstUpstream, write_first_file
from perhop.founding.first_tools import MAX_ABOUT, MAX_NAME, MAX_TOOLS, FirstTools, one_line, sort_tools
from perhop.policy.check import check as check_policies
from perhop.policy.starter import write_starter_policy
from perhop.settings import Settings, load

HOSTILE = [
    'x"]}\n      evil:all: {says: all, tools: ["*"]}',
    '"quoted"',
    "it's",
    "back\\slash",
    "a: b #c",
    "- [x, {y: z}]",
    "&anchor *alias !!tag",
    'end"); permit(principal, action, resource); //',
    "${HOME} {{x}} %s",
    "two\nlines",
    "carriage\rreturn",
    "line\u2028separator",
    "next\u0085line",
    "right\u202eleft",
    "nul\x00",
    "*",
    "list_*",
    "[a-z]?",
    "naïve-日本-🎉",
    " space ",
    "notes/nested/name",
    "",
    "x" * 5000,
]


def _tool(name: Any, description: Any = "", *, reads: object = True) -> dict[str, Any]:
    return {"name": name, "description": description, "annotations": {"readOnlyHint": reads}}


def _load(folder: Path, tools: FirstTools) -> Settings:
    upstream = FirstUpstream.of("http://127.0.0.1:9001/notes/mcp")
    written = write_first_file(
        "http://127.0.0.1:8420", FirstUpstream(upstream.name, upstream.uri, tools), expires="2099-12-31"
    )
    (folder / "perhop.yaml").write_text(written, encoding="utf-8")
    (folder / SECRET_FILE).parent.mkdir(exist_ok=True)
    (folder / SECRET_FILE).write_text("s" * 40)
    return load(folder / "perhop.yaml", {})


def _findings(tools: FirstTools, registry: Registry) -> Sequence[object]:
    read, write = ([tool.name for tool in part] for part in (tools.read, tools.write))
    text = write_starter_policy("agent", "notes", read=read, write=write)
    return check_policies({"start.cedar": text}, registry)


@bounded(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=20), st.sampled_from(HOSTILE)),
            st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE)),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_both_files_say_what_was_sorted_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, str, bool]]
) -> None:
    """Whatever the names and descriptions hold, the scopes list exactly the kept names, and the policies are good."""
    tools = sort_tools(_tool(name, about, reads=reads) for name, about, reads in told)
    settings = _load(tmp_path_factory.mktemp("first"), tools)
    scopes = settings.registry.resources["notes"].scopes
    if not tools.are_split:
        assert list(scopes) == ["notes:use"]
        return
    assert scopes["notes:read"].tools == tuple(tool.name for tool in tools.read)
    assert [*scopes] == ["notes:read", *(["notes:write"] if tools.write else [])]
    if tools.write:
        assert scopes["notes:write"].tools == tuple(tool.name for tool in tools.write)
    assert _findings(tools, settings.registry) == []


def test_a_hostile_server_gets_nothing_through(tmp_path: Path) -> None:
    """Names that would break out, stand for other tools or hide are left out; the others list themselves alone."""
    tools = sort_tools([*(_tool(name, name) for name in HOSTILE), _tool("good", "fine", reads=False)])
    settings = _load(tmp_path, tools)
    resource = settings.registry.resources["notes"]
    kept = {tool.name for tool in tools.read}
    assert {"it's", "back\\slash", "[a-z]?", "naïve-日本-🎉", "notes/nested/name"} <= kept
    assert not kept & {"*", "list_*", "", "nul\x00", "two\nlines", "right\u202eleft", "x" * 5000}
    assert list(resource.scopes) == ["notes:read", "notes:write"]
    assert resource.scope_for("good") == "notes:write"
    assert all(resource.scope_for(name) == "notes:read" for name in kept)
    assert resource.scope_for("list_notes") is None
    assert _findings(tools, settings.registry) == []
    assert settings.registry.clients["agent"].reaches == {"notes": ("notes:read", "notes:write")}


def test_only_the_word_true_marks_a_tool_as_read_only() -> None:
    """A hint that is no boolean, annotations that are no object, and a name that comes twice count as writing."""
    told = [
        _tool("a", reads="true"),
        _tool("b", reads=1),
        {"name": "c", "annotations": ["readOnlyHint"]},
        {"name": "d"},
        _tool("e"),
        _tool("e", reads=False),
        _tool("f"),
        _tool("g", reads=False),
        _tool("g"),
    ]
    tools = sort_tools(told)
    assert [tool.name for tool in tools.read] == ["f"]
    assert [tool.name for tool in tools.write] == ["a", "b", "c", "d", "e", "g"]


def test_many_tools_are_bounded(tmp_path: Path) -> None:
    """Of ten thousand the first by name are kept, and the others are told as left out."""
    tools = sort_tools(_tool(f"tool-{number:05}", "long " * 10_000) for number in range(10_000))
    assert len(tools.read) == MAX_TOOLS
    assert len(tools.left_out) == 10_000 - MAX_TOOLS
    assert len(_load(tmp_path, tools).registry.resources["notes"].scopes["notes:read"].tools) == MAX_TOOLS


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n  Lists notes.  \nMore.", "Lists notes."),
        (None, ""),
        (7, ""),
        ("tab\there", "tab\\there"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("x" * 5000, "x" * (MAX_ABOUT - 1) + "…"),
    ],
)
def test_a_description_becomes_one_short_printable_line(text: object, line: str) -> None:
    """The first line that says something is kept, escaped and cut."""
    assert one_line(text) == line


def test_a_name_at_the_bound_is_kept_and_one_above_is_not() -> None:
    """Names have at most so many characters."""
    tools = sort_tools([_tool("x" * MAX_NAME), _tool("x" * (MAX_NAME + 1))])
    assert [len(tool.name) for tool in tools.read] == [MAX_NAME]
    assert len(tools.left_out) == 1
