"""The policies of one folder: read, checked, and held as syntax trees.

A set loads whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cedarpy
from cedarpy import pst

from perhop.core.authentication import AuthenticationWanted
from perhop.errors import PolicyError
from perhop.policy.arguments import cedar_type, is_visible
from perhop.policy.authentication import parse_authentication_wanted
from perhop.policy.finding import Finding, Severity, problem_of
from perhop.policy.reads import argument_types, context_reads
from perhop.policy.statements import Statement, split_statements
from perhop.policy.validation import advice_for, schema_problems

# The `@id` stands in journal, explanation and command lines.
_ID = re.compile(r"\w[\w.:/@+-]{0,127}")
# An annotation that we do not know may be meant to narrow the policy: it is refused, never passed over.
ANNOTATIONS = ("id", "reason", "owner", "approval", "authentication")
APPROVAL_BY = "owner"
"""The one value of `@approval`: a person of the team that owns the resource."""

# Cedar's JSON gives these keys a meaning of their own inside a record.
_RESERVED_ARGUMENTS = frozenset({"__entity", "__extn", "__expr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One checked policy.

    `needs_approval` is True for a permit that lets a call through only once a person has approved it.
    `authentication` is the sign-in with which a forbid would not forbid, by its author's word.
    `arguments` are those that it asks for; `values` those whose value it reads, with the Cedar type that it takes them
    for, None if it takes any. `tree` bears the `@id` as its Cedar id, so Cedar's answers name it.
    """

    id: str
    effect: Literal["permit", "forbid"]
    file: str
    line: int
    reason: str
    owner: str
    needs_approval: bool
    authentication: AuthenticationWanted | None
    arguments: frozenset[str]
    values: Mapping[str, str | None]
    tree: pst.Template

    def can_decide_on(self, argument: str, value: object) -> bool:
        """False if the policy asks for this argument and could only misjudge this value of it.

        Cedar finds `"5" == 5` false without an error; for us a value of another type is an error like any other.
        """
        if argument not in self.arguments:
            return True
        if argument not in self.values:
            # That it is there is true; but a tool may ignore it, so a permit must not rest on that alone.
            return self.effect == "forbid" or is_visible(value)
        return is_visible(value) and self.values[argument] in (None, cedar_type(value))


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies in force; `version` is the short SHA-256 of their sources."""

    policies: tuple[Policy, ...]
    version: str


def load_policies(folder: Path) -> PolicySet:
    """Read and parse `*.cedar` of a folder, not of folders below it; hidden files are passed over.

    Raises: PolicyError
    """
    return parse_policies(load_sources(folder))


def load_sources(folder: Path) -> dict[str, str]:
    """The text of each policy file by its name.

    Raises: PolicyError
    """
    if not folder.is_dir():
        raise PolicyError(f"`{folder}` is not a folder", advice="`perhop init` makes it, with a first policy")
    sources: dict[str, str] = {}
    for path in sorted(folder.glob("*.cedar")):
        if path.name.startswith("."):
            continue
        try:
            sources[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"`{path}` cannot be read: {error}", advice="a policy is a UTF-8 text file") from error
    return sources


def parse_policies(sources: Mapping[str, str]) -> PolicySet:
    """Parse and check the policies of all files (name -> text).

    Does not look at whether the names in them are registered: see `perhop.policy.check`.

    Raises: PolicyError
    """
    policies, findings = examine(sources)
    if findings:
        problem, advice = problem_of(findings)
        raise PolicyError(problem, advice=advice)
    return PolicySet(policies, digest_of(sources)[:16])


def examine(sources: Mapping[str, str]) -> tuple[tuple[Policy, ...], tuple[Finding, ...]]:
    """Every policy that is sound by itself, and everything that keeps the set from loading."""
    policies: dict[str, Policy] = {}
    findings: list[Finding] = []
    for file in sorted(sources):
        for item in _read_file(file, sources[file]):
            if isinstance(item, Finding):
                findings.append(item)
            elif (earlier := policies.get(item.id)) is not None:
                findings.append(_duplicate(item, earlier))
            else:
                policies[item.id] = item
    return tuple(policies.values()), tuple(findings)


def digest_of(sources: Mapping[str, str]) -> str:
    """The SHA-256 of a set's files, names and texts; its first 16 letters are the version."""
    return hashlib.sha256(json.dumps(sorted(sources.items())).encode()).hexdigest()


def _read_file(file: str, source: str) -> Iterator[Policy | Finding]:
    statements = split_statements(source)
    for statement in statements:
        if not statement.is_parsable:
            yield _error(
                file, statement.line, "", "this statement is nested too deeply", "split it into several policies"
            )
            return
    try:
        parsed = cedarpy.policies_to_pst(source)
    except ValueError as error:
        yield _syntax_error(file, statements, error)
        return
    # Cedar numbers policies and templates together, in the order of the file.
    trees = {**parsed.static_policies, **parsed.templates}
    # INVARIANT: no policy is left out because we and Cedar disagree on where a statement ends.
    if trees.keys() != {f"policy{index}" for index in range(len(statements))}:
        yield _error(file, 1, "", "the statements of this file could not be told apart", "put one policy in a file")
        return
    for index, statement in enumerate(statements):
        yield from _read_statement(file, statement.line, trees[f"policy{index}"])


def _read_statement(file: str, line: int, tree: pst.Template) -> Iterator[Policy | Finding]:
    problems = tuple(_problems(tree))
    for message, advice in problems:
        yield _error(file, line, _id_of(tree), message, advice)
    if not problems:
        yield _policy(file, line, tree)


def _syntax_error(file: str, statements: tuple[Statement, ...], whole: ValueError) -> Finding:
    advice = "the whole file is refused until it parses; a policy ends with `;`"
    for statement in statements:
        try:
            cedarpy.policies_to_pst(statement.text)
        except ValueError as error:
            return _error(file, statement.line, "", f"this statement does not parse: {error}", advice)
    return _error(file, 1, "", f"this file does not parse: {whole}", advice)


def _policy(file: str, line: int, tree: pst.Template) -> Policy:
    policy_id, reads, types = tree.annotations["id"], context_reads(tree), argument_types(tree)
    return Policy(
        id=policy_id,
        effect=tree.effect,
        file=file,
        line=line,
        reason=tree.annotations.get("reason", ""),
        owner=tree.annotations.get("owner", ""),
        needs_approval="approval" in tree.annotations,
        authentication=parse_authentication_wanted(tree.annotations.get("authentication", "")),
        arguments=reads.arguments,
        values={name: types[name] for name in sorted(reads.values)},
        tree=replace(tree, id=policy_id),
    )


def _problems(tree: pst.Template) -> Iterator[tuple[str, str]]:
    """What is wrong with one policy, each with its remedy; the schema is asked only about one that is sound so far."""
    own = (*_naming_problems(tree), *_reading_problems(tree))
    yield from own
    if not own:
        for problem in schema_problems(tree):
            yield f"policy `{tree.annotations['id']}` does not fit the schema: {problem}", advice_for(problem)


def _naming_problems(tree: pst.Template) -> Iterator[tuple[str, str]]:
    if "id" not in tree.annotations:
        yield "this policy has no `@id`", 'write `@id("what-it-does")` before it: journal and explanations name it so'
    elif not _ID.fullmatch(tree.annotations["id"]):
        yield (
            f"`{tree.annotations['id']}` is not an `@id`",
            "use up to 128 letters, digits and `. _ - : / @ +`, beginning with a letter or digit",
        )
    for name in sorted(set(tree.annotations) - set(ANNOTATIONS)):
        known = ", ".join(f"`@{each}`" for each in ANNOTATIONS)
        yield f"annotation `@{name}` of policy `{_id_of(tree)}` is not known", f"the annotations are {known}"
    yield from _approval_problems(tree)
    yield from _authentication_problems(tree)


def _approval_problems(tree: pst.Template) -> Iterator[tuple[str, str]]:
    if "approval" not in tree.annotations:
        return
    name, value = f"policy `{_id_of(tree)}`", tree.annotations["approval"]
    if value != APPROVAL_BY:
        yield f'`@approval("{value}")` of {name} names nobody who approves', f'write `@approval("{APPROVAL_BY}")`'
    if tree.effect == "forbid":
        yield f"{name} is a forbid with `@approval`", "only a permit can want an approval: a forbid is a no for good"


def _authentication_problems(tree: pst.Template) -> Iterator[tuple[str, str]]:
    if "authentication" not in tree.annotations:
        return
    name, value = f"policy `{_id_of(tree)}`", tree.annotations["authentication"]
    if parse_authentication_wanted(value) is None:
        advice = 'write `@authentication("max_age=300")`, in seconds, `"acr_values=A B"`, or both with a comma between'
        yield f'`@authentication("{value}")` of {name} says no sign-in', advice
    if tree.effect == "permit":
        yield (
            f"{name} is a permit with `@authentication`",
            "write a forbid that a new sign-in takes away: only what forbids can say what it waits for",
        )


def _reading_problems(tree: pst.Template) -> Iterator[tuple[str, str]]:
    reads, name = context_reads(tree), f"policy `{_id_of(tree)}`"
    if _has_slot(tree):
        yield f"{name} is a template", "name the principal and the resource: nothing fills `?principal` or `?resource`"
    if reads.whole:
        yield f"{name} uses `context` as a value", "read one attribute at a time: `context.token.client_id`"
    if reads.whole_arguments:
        yield f"{name} uses `context.arguments` as a value", "read one argument at a time: `context.arguments.NAME`"
    if tree.effect == "permit" and "actors" in reads.attributes:
        # DEVIATES: RFC 8693 §4.1 keeps inner actors out of access decisions; a forbid may read them: it only narrows.
        yield (
            f"{name} is a permit that reads `context.actors`",
            "a permit may read the outermost actor only: `context has actor && context.actor == ...`",
        )
    for argument in sorted(reads.arguments & _RESERVED_ARGUMENTS):
        yield f"{name} reads an argument named `{argument}`", "Cedar keeps this name for itself"


def _has_slot(tree: pst.Template) -> bool:
    constraints = (tree.principal, tree.resource)
    return any(isinstance(getattr(each, "entity", None), pst.Slot) for each in constraints)


def _id_of(tree: pst.Template) -> str:
    return tree.annotations.get("id", "")


def _duplicate(policy: Policy, earlier: Policy) -> Finding:
    return _error(
        policy.file,
        policy.line,
        policy.id,
        f"`@id` `{policy.id}` is already used at {earlier.file}:{earlier.line}",
        "give each policy a name of its own",
    )


def _error(file: str, line: int, policy: str, message: str, advice: str) -> Finding:
    return Finding(severity=Severity.ERROR, file=file, line=line, policy=policy, message=message, advice=advice)
