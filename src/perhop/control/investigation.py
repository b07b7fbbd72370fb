"""What an investigation looks at: the journal's file, the configuration and the policies as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from perhop.core.call import Action, Target
from perhop.core.client import Client
from perhop.core.decision import Question
from perhop.core.resource import Resource
from perhop.errors import NotFound
from perhop.journal.blast_radius import BlastRadius, blast_radius, could_reach, token_and_descendants
from perhop.journal.facets import parse_microseconds
from perhop.journal.incident import Incident, Suspect, find_suspect, investigate, resource_addressed
from perhop.journal.tally import Asked, Selection
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import load_policies
from perhop.rules.reach import Reached, client_reach, merged, reach
from perhop.settings import Settings
from perhop.storage.journal_tally import JournalTallies
from perhop.wiring.newcomers_on_file import with_newcomers

PERSON_PREFIX = "user:"


@dataclass(frozen=True, slots=True)
class Investigation:
    """Answers about one journal. `now` is for policies that ask for the time, `groups` are people's by subject.

    The groups are those that were last said of a person, however long ago: what could be reached is not understated.
    """

    settings: Settings
    reader: JournalTallies
    engine: PolicyEngine
    now: int
    groups: Mapping[str, frozenset[str]]

    def blast_radius(self, kind: Asked, value: str, *, since: str | None, until: str | None) -> BlastRadius:
        """Could reach, did reach, was refused. Times are as the journal writes them.

        Raises: NotFound, JournalUnavailable, JournalDamaged
        """
        if kind is Asked.TOKEN:
            return self._of_token(self._suspect(value), since=since, until=until)
        values, agents, reached = self._of(kind, value)
        subject = value if kind is Asked.SUBJECT else None
        return self._answer(kind, value, values, agents, reached, subject, since=since, until=until)

    def incident(self, jti: str, *, since: str | None) -> Incident:
        """What the records say of one token; `since` bounds the agent's earlier work that is looked at.

        Raises: NotFound, JournalUnavailable, JournalDamaged
        """
        suspect = self._suspect(jti)
        radius = self._of_token(suspect, since=None, until=None)
        return investigate(
            self.reader, suspect, radius, self.settings.registry, since=parse_microseconds(since) if since else None
        )

    def _suspect(self, jti: str) -> Suspect:
        token_and_descendants(self.reader, jti)
        return find_suspect(self.reader, jti, self.settings.registry)

    def _of_token(self, suspect: Suspect, *, since: str | None, until: str | None) -> BlastRadius:
        registry = self.settings.registry
        tokens = token_and_descendants(self.reader, suspect.jti)
        resource = resource_addressed(registry, suspect.audience)
        reached = reach(resource, frozenset(suspect.scopes), registry) if resource is not None else ()
        agents = [suspect.agent] if suspect.agent is not None else []
        return self._answer(
            Asked.TOKEN, suspect.jti, tokens, agents, reached, suspect.subject, since=since, until=until
        )

    def _of(self, kind: Asked, value: str) -> tuple[tuple[str, ...], list[str], tuple[Reached, ...]]:
        registry = self.settings.registry
        match kind:
            case Asked.AGENT:
                client = registry.clients.get(value)
                return (value,), [value], client_reach(client, registry) if client is not None else ()
            case Asked.SUBJECT:
                clients = self._clients_for(value)
                reached = merged(each for client in clients for each in client_reach(client, registry))
                return (value,), [client.id for client in clients], reached
            case _:
                resource = self._resource(value)
                reached = reach(resource, frozenset(resource.scopes), registry)
                return (resource.name, resource.uri, resource.server_uri), list(registry.clients), reached

    def _clients_for(self, subject: str) -> list[Client]:
        """The clients that acted for this subject, and the one that has its name."""
        tallies = self.reader.tallies(Selection(kind=Asked.SUBJECT, values=(subject,)))
        names = dict.fromkeys([subject, *(each.kind.agent for each in tallies if each.kind.agent)])
        clients = self.settings.registry.clients
        return [clients[name] for name in names if name in clients]

    def _resource(self, value: str) -> Resource:
        registry = self.settings.registry
        resource = registry.resources.get(value) or resource_addressed(registry, value)
        if resource is None:
            raise NotFound(f"the configuration defines no resource `{value}`", advice="run `perhop resource list`")
        return resource

    def _answer(
        self,
        kind: Asked,
        value: str,
        values: tuple[str, ...],
        agents: Sequence[str],
        reached: Sequence[Reached],
        subject: str | None,
        *,
        since: str | None,
        until: str | None,
    ) -> BlastRadius:
        selection = Selection(
            kind=kind,
            values=values,
            since=parse_microseconds(since),
            until=parse_microseconds(until),
        )

        def may_call(where: Reached, tool: str) -> bool:
            return any(
                self.engine.may_permit(question)
                for agent in agents
                for question in self._questions(agent, subject, where, tool)
            )

        could = could_reach(reached, self.reader, may_call)
        asked = {"kind": kind.value, "value": value, "since": since, "until": until}
        return blast_radius(self.reader, selection, could, asked=asked)

    def _questions(self, agent: str, subject: str | None, where: Reached, tool: str) -> Iterator[Question]:
        """The call as the agent itself would make it, and, behind a hop, as each client that serves anything would."""
        presenters: list[tuple[str, tuple[str, ...]]] = [(agent, ())]
        if where.hops > 0:
            servers = (client.id for client in self.settings.registry.clients.values() if client.serves)
            presenters.extend((server, (server, agent)) for server in servers)
        for presenter, actors in presenters:
            yield Question(
                target=Target(Action.CALL_TOOL, tool),
                agent=agent,
                server=where.resource.name,
                subject=subject if subject is not None and subject.startswith(PERSON_PREFIX) else None,
                client_id=presenter,
                actors=actors,
                scopes=where.scopes,
                hop=1 + where.hops,
                now=self.now,
                arguments={},
                tenant=where.resource.tenant,
                groups=self.groups.get(subject or ""),
            )


@contextmanager
def investigating(
    settings: Settings,
    *,
    now: int,
    journal: Path | None = None,
    kind_of_reader: type[JournalTallies] = JournalTallies,
    groups: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> Iterator[Investigation]:
    """An investigation of the journal of this configuration, or of another file of it; reads files only.

    Raises: NotFound, PolicyError, StorageUnavailable
    """
    settings = with_newcomers(settings)
    engine = PolicyEngine(load_policies(settings.policies_dir), settings.registry)
    with kind_of_reader(journal if journal is not None else settings.journal_path) as reader:
        yield Investigation(settings, reader, engine, now, groups)
