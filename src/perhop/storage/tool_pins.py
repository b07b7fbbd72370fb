"""Tool pins: what a resource's owner approved of its tools, and what was seen since and differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from perhop.gateway.tool_pins import Approval, Pinned, Quarantined
from perhop.rules.tool_definition import by_name, parse_definition
from perhop.storage.engine import Database
from perhop.storage.schema import tool_approval, tool_quarantine


class SqlToolPins:
    """Tool pins in `perhop.db`. INVARIANT: nothing but `approve` takes a tool out of quarantine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, Pinned]:
        """Every resource of which anything was approved.

        Raises: StorageUnavailable
        """

        async def work(connection: AsyncConnection) -> Mapping[str, Pinned]:
            quarantined: dict[str, list[Quarantined]] = {}
            for row in await connection.execute(select(tool_quarantine)):
                seen = parse_definition(json.loads(row.definition)) if row.definition is not None else None
                noted = Quarantined(tool=row.tool, seen=seen, noticed_at=row.noticed_at)
                quarantined.setdefault(row.resource, []).append(noted)
            return {
                row.resource: Pinned(
                    approval=Approval(
                        definitions=by_name(map(parse_definition, json.loads(row.definitions))),
                        by=row.approved_by,
                        at=row.approved_at,
                    ),
                    quarantined=quarantined.get(row.resource, ()),
                )
                for row in await connection.execute(select(tool_approval))
            }

        return await self._database.read(work)

    async def approve(self, resource: str, approval: Approval) -> None:
        """Put this in the place of what was approved before, and forget what was quarantined, in one transaction.

        Raises: StorageUnavailable
        """
        texts = ",".join(each.text for each in by_name(approval.definitions.values()).values())
        put = {"definitions": f"[{texts}]", "approved_by": approval.by, "approved_at": approval.at}
        statement = insert(tool_approval).values(resource=resource, **put)
        replace = statement.on_conflict_do_update(index_elements=(tool_approval.c.resource,), set_=put)
        forget = delete(tool_quarantine).where(tool_quarantine.c.resource == resource)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(replace)
            await connection.execute(forget)

        await self._database.write(work)

    async def note_quarantined(self, resource: str, noticed: Sequence[Quarantined]) -> None:
        """Keep these until the next approval; of a tool that is noted already, the first note stays.

        Raises: StorageUnavailable
        """
        if not noticed:
            return
        rows = [
            {
                "resource": resource,
                "tool": each.tool,
                "definition": each.seen.text if each.seen is not None else None,
                "noticed_at": each.noticed_at,
            }
            for each in noticed
        ]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(tool_quarantine).on_conflict_do_nothing(), rows)

        await self._database.write(work)
