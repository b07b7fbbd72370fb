"""A watch that ends our children if we are killed and can end nobody ourselves.

Servers see the end of their input then, and should exit. One that hangs would not, nor would what a starter like `npx`
has started. The watch is a shell that reads a pipe of ours: when the pipe ends without our having taken leave, it ends
the process groups that were named to it.
"""

from __future__ import annotations

import asyncio
import contextlib

_SCRIPT = """\
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
  esac
done
case $groups in *[0-9]*) sleep 1 ;; esac
for group in $groups; do kill -s KILL -- "-$group"; done
"""


class OrphanWatch:
    """Started with the first group; `close` lets it go once every group has been taken off."""

    def __init__(self) -> None:
        self._shell: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._groups: set[int] = set()

    @property
    def pid(self) -> int | None:
        """The shell that watches; None while there is nobody to watch."""
        return None if self._shell is None else self._shell.pid

    async def start(self) -> None:
        """Have the watch running before there is anybody to watch. Raises: OSError."""
        async with self._starting:
            if self._shell is None or self._shell.returncode is not None:
                self._shell = await asyncio.create_subprocess_exec(
                    "/bin/sh",
                    "-c",
                    _SCRIPT,
                    "perhop-orphan-watch",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin"},
                    start_new_session=True,
                )
                # A watch that was ended by somebody leaves its groups to the next.
                for group in self._groups:
                    self._tell(f"+ {group}\n")

    def add(self, group: int) -> None:
        """Watch over this process group."""
        self._groups.add(group)
        self._tell(f"+ {group}\n")

    def remove(self, group: int) -> None:
        """This group has ended; its number may come to mean another."""
        self._groups.discard(group)
        self._tell(f"- {group}\n")

    async def close(self) -> None:
        """Let the watch end."""
        if self._shell is None or self._shell.stdin is None:
            return
        self._shell.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await self._shell.wait()

    def _tell(self, line: str) -> None:
        if self._shell is not None and self._shell.stdin is not None and not self._shell.stdin.is_closing():
            self._shell.stdin.write(line.encode())
