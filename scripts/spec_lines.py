"""Reads the `Spec:` lines of the code: which section of which document a module, class or function carries out.

The grammar of what follows `Spec:` (one or more references, with `, ` between them, alone to the end of the line, or
closing a one-line docstring):

    RFC 8707 §2          MCP 2026-07-28 transports          C2SP tlog-checkpoint §Note text
    JSON-RPC 2.0 §5      NIST SP 800-38D                    RFC 6749 Appendix B
    AuthZEN 1.0 §7.1.1   COAZ-MCP draft-1 §7.2   Standard Webhooks 1.0   OpenID Connect Core 1.0 §3.1.3.7
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

_SECTION = r"( §[0-9A-Za-z][^,]*| Appendix [A-Z])?"
_REFERENCE = re.compile(
    r"(?P<document>RFC [0-9]+|C2SP [a-z-]+|JSON-RPC 2\.0|Standard Webhooks 1\.0|AuthZEN 1\.0|COAZ-MCP draft-1"
    r"|OpenID Connect (?:Core|Discovery) 1\.0"
    rf"|NIST SP [0-9A-Za-z-]+|draft-[a-z0-9-]+){_SECTION}"
    r"|(?P<revision>MCP [0-9]{4}-[0-9]{2}-[0-9]{2}) [a-z][a-z /-]*"
)
_LINE = re.compile(r"Spec: (?P<references>[^\"]*?)\.?(\"\"\")?$")
_OTHERS = {
    "OpenID Connect Core 1.0": "https://openid.net/specs/openid-connect-core-1_0.html",
    "OpenID Connect Discovery 1.0": "https://openid.net/specs/openid-connect-discovery-1_0.html",
    "JSON-RPC 2.0": "https://www.jsonrpc.org/specification",
    "Standard Webhooks 1.0": "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    "COAZ-MCP draft-1": "https://github.com/openid/authzen/blob/main/profiles/authzen-coaz-mcp-binding-1_0.md",
}
_PAGES = {
    "base protocol": "basic",
    "transports": "basic/transports",
    "authorization": "basic/authorization",
    "security best practices": "basic/security_best_practices",
    "multi round-trip requests": "basic/utilities/mrtr",
    "lifecycle": "basic/lifecycle",
    "versioning": "basic/versioning",
    "tasks": "basic/utilities/tasks",
    "discovery": "server/discover",
    "tools": "server/tools",
    "resources": "server/resources",
    "prompts": "server/prompts",
    "elicitation": "client/elicitation",
}


@dataclass(frozen=True, slots=True, order=True)
class SpecLine:
    """One reference, and the place in the code that carries it."""

    document: str
    section: str
    place: str


class SpecLineMalformed(ValueError):
    """A `Spec:` line does not follow the grammar."""


def split_reference(reference: str) -> tuple[str, str]:
    """Document and section: `RFC 8707 §2` is `("RFC 8707", "§2")`. Raises: SpecLineMalformed."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise SpecLineMalformed(f"`{reference}` is not a reference; see scripts/spec_lines.py")
    document: str = found["document"] or found["revision"]
    return document, reference[len(document) :].strip()


def link(reference: str) -> str:
    """Where to read it. Raises: SpecLineMalformed."""
    document, section = split_reference(reference)
    if document.startswith("RFC "):
        anchor = f"#section-{section[1:]}" if re.fullmatch(r"§[0-9.]+", section) else ""
        return f"https://www.rfc-editor.org/rfc/rfc{document[4:]}{anchor}"
    if document.startswith("MCP "):
        return f"https://modelcontextprotocol.io/specification/{document[4:]}/{_PAGES.get(section, '')}"
    if document.startswith("C2SP "):
        return f"https://c2sp.org/{document[5:]}"
    if document.startswith("draft-"):
        return f"https://datatracker.ietf.org/doc/html/{document}"
    if document == "AuthZEN 1.0":
        anchor = f"#section-{section[1:]}" if re.fullmatch(r"§[0-9.]+", section) else ""
        return f"https://openid.net/specs/authorization-api-1_0.html{anchor}"
    return _OTHERS.get(document, "https://csrc.nist.gov/publications")


def references_of(line: str) -> tuple[str, ...]:
    """The references of one line of text; none when it has no `Spec:`. Raises: SpecLineMalformed."""
    if "Spec:" not in line:
        return ()
    found = _LINE.search(line.rstrip())
    if found is None:
        raise SpecLineMalformed(f"`{line.strip()}` does not end with references; see scripts/spec_lines.py")
    references = tuple(found["references"].split(", "))
    for reference in references:
        split_reference(reference)
    return references


def spec_lines(source: Path = SOURCE) -> list[SpecLine]:
    """Every reference of every docstring under a folder. Raises: SpecLineMalformed."""
    return sorted(line for file in sorted(source.rglob("*.py")) for line in _lines_of(file, source))


def _lines_of(file: Path, source: Path) -> Iterator[SpecLine]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    module = ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
    yield from _docstring_lines(tree, module)
    yield from _inner_lines(tree, module)


def _inner_lines(node: ast.AST, place: str) -> Iterator[SpecLine]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{place}.{child.name}"
            yield from _docstring_lines(child, inner)
            yield from _inner_lines(child, inner)


def _docstring_lines(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, place: str
) -> Iterator[SpecLine]:
    for line in (ast.get_docstring(node) or "").splitlines():
        try:
            references = references_of(line)
        except SpecLineMalformed as malformed:
            raise SpecLineMalformed(f"{place}: {malformed}") from None
        for reference in references:
            yield SpecLine(*split_reference(reference), place)
