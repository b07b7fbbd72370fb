"""Which memory huge pages are asked for, and that the system hears of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perhop.serving.huge_pages import full_regions

MIB = 1024 * 1024
HEAP, ANONYMOUS = "[heap]", ""


def _region(start: int, size: int, resident: int, *, name: str = ANONYMOUS, rights: str = "rw-p", node: int = 0) -> str:
    head = f"{start:x}-{start + size:x} {rights} 00000000 {'08:01' if node else '00:00'} {node}"
    named = f"{head:<73}{name}" if name else f"{head} "
    return f"{named}\nSize: {size // 1024} kB\nRss: {resident // 1024} kB\n"


@pytest.mark.parametrize(
    ("region", "asked"),
    [
        pytest.param(_region(2 * MIB, 4 * MIB, 4 * MIB), [(2 * MIB, 6 * MIB)], id="all of it in use"),
        pytest.param(_region(2 * MIB, 8 * MIB, 7 * MIB, name=HEAP), [(2 * MIB, 10 * MIB)], id="nearly all of it"),
        pytest.param(_region(2 * MIB, 2 * MIB, 2 * MIB, name="[anon:arenas]"), [(2 * MIB, 4 * MIB)], id="with a name"),
        pytest.param(_region(3 * MIB, 6 * MIB, 6 * MIB), [(4 * MIB, 8 * MIB)], id="whole huge pages alone"),
        pytest.param(_region(3 * MIB, 2 * MIB, 2 * MIB), [], id="no whole huge page"),
        pytest.param(_region(2 * MIB, 8 * MIB, 64 * 1024), [], id="a thread's stack"),
        pytest.param(_region(2 * MIB, 8 * MIB, 8 * MIB, name="[stack]"), [], id="the first stack"),
        pytest.param(_region(2 * MIB, 8 * MIB, 8 * MIB, name="/lib/some.so", node=77), [], id="a file"),
        pytest.param(_region(2 * MIB, 8 * MIB, 8 * MIB, rights="r-xp"), [], id="code"),
        pytest.param(_region(2 * MIB, 8 * MIB, 8 * MIB, rights="rw-s"), [], id="shared with others"),
    ],
)
def test_heap_that_is_in_use_is_asked_for(region: str, asked: list[tuple[int, int]]) -> None:
    """Whole huge pages of it, and nothing that is mostly empty: to fill that would take memory from others."""
    other = _region(100 * MIB, 2 * MIB, 2 * MIB)
    assert list(full_regions(region + other)) == [*asked, (100 * MIB, 102 * MIB)]


_ASKS = """
import mmap, os, sys, tempfile
folder = tempfile.TemporaryDirectory()
with open(os.path.join(os.fsencode(folder.name), b"\\xe9"), "w+b") as file:
    file.write(b"a file whose name is no UTF-8")
    file.flush()
    mapped = mmap.mmap(file.fileno(), 0)
from perhop.serving.huge_pages import ask_for_huge_pages
kept = [{"number": number} for number in range(200_000)]

def advised():
    with open("/proc/self/smaps", "rb") as maps:
        return any(b" hg" in line for line in maps if line.startswith(b"VmFlags:"))

before = advised()
ask_for_huge_pages()
print(before, advised(), len(kept), sum(each["number"] for each in kept))
"""


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="this system knows no transparent huge pages"
)
def test_the_system_hears_of_it() -> None:
    """In a process with a heap, and a file by an odd name: the kernel notes it, and every object is what it was."""
    said = subprocess.run([sys.executable, "-c", _ASKS], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "200000", str(sum(range(200_000)))]
