"""The heap in huge pages, where the system gives them to whoever asks.

An interpreter walks over objects that lie all over its heap. Behind a page table of four-kilobyte pages much of that is
waiting for addresses, in a virtual machine above all.

Linux says more in `Documentation/admin-guide/mm/transhuge.rst`.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/smaps")
_PAGE = 2 * 1024 * 1024
"""Where those of the system are larger, advice for less is taken by and by, or not at all."""
_ADVISE_HUGE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE, and MADV_COLLAPSE of Linux 6.1

_REGION = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) rw-p 0{8} 00:00 0 *(?:\[heap\]|\[anon:[^\n]*\])?\n.*?^Rss: +(\d+) kB",
    re.MULTILINE | re.DOTALL,
)
_FILLED = 7 / 8
"""Of a region, at least: a thread's stack is eight megabytes of which it has touched a few pages."""


def ask_for_huge_pages() -> None:
    """Ask for huge pages for the heap as it is now. To be called once, when what stays is there.

    This is advice: where the system gives none, or knows no such thing, nothing changes. Memory that is not in use yet
    is left alone.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # no such file, or a C library without `madvise`
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, end in full_regions(_MAPS.read_text(encoding="utf-8", errors="replace")):
            advise(start, end - start, _ADVISE_HUGE)
            # Now, where the system can; otherwise it does so by and by.
            advise(start, end - start, _COLLAPSE)


def full_regions(maps: str) -> Iterator[tuple[int, int]]:
    """The whole huge pages of heap that are in use nearly everywhere, by the text of `smaps`: begin and end."""
    for begin, end, resident in _REGION.findall(maps):
        first, last = int(begin, 16), int(end, 16)
        if int(resident) * 1024 >= _FILLED * (last - first):
            start, stop = -(-first // _PAGE) * _PAGE, last // _PAGE * _PAGE
            if start < stop:
                yield start, stop
