"""One task of an agent, and tokens that are good for it and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from perhop.client.auth import TokenAuth
from perhop.client.task_request import BegunTask
from perhop.client.token_request import AccessToken


class Supersede(Protocol):
    """Begins another task in the place of the one with this id."""

    def __call__(
        self, *, purpose: str, tools: Iterable[str], limits: Mapping[str, int] | None, expires_in: int, supersedes: str
    ) -> Awaitable[AgentTask]: ...


class AgentTask:
    """A task that was begun. Tokens that are got here name it, and are good for what it covers, as long as it lasts.

    Made by `TokenSource.task` and by `supersede`.
    """

    def __init__(
        self,
        begun: BegunTask,
        *,
        token_for: Callable[[str, Iterable[str] | None], Awaitable[AccessToken]],
        auth_for: Callable[[str, Iterable[str] | None], TokenAuth],
        supersede: Supersede,
    ) -> None:
        self.id = begun.id
        self.expires_at = begun.expires_at
        self._token_for = token_for
        self._auth_for = auth_for
        self._supersede = supersede

    async def token_for(self, resource: str, scopes: Iterable[str] | None = None) -> AccessToken:
        """The client's own token for one resource, under this task.

        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        return await self._token_for(resource, scopes)

    def auth_for(self, resource: str, scopes: Iterable[str] | None = None) -> TokenAuth:
        """An httpx2 `Auth` with the client's own tokens for one resource, under this task.

        Raises: SettingsError
        """
        return self._auth_for(resource, scopes)

    async def supersede(
        self, *, purpose: str, tools: Iterable[str], limits: Mapping[str, int] | None = None, expires_in: int = 3600
    ) -> AgentTask:
        """Go on with another task. Every token of this one is refused from then on, wherever it is.

        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        return await self._supersede(
            purpose=purpose, tools=tools, limits=limits, expires_in=expires_in, supersedes=self.id
        )
