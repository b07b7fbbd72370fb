"""The smallest picture and the smallest sound that are valid, made here rather than shipped."""

from __future__ import annotations

import base64
import struct
import zlib


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def red_pixel() -> bytes:
    """A PNG of one red pixel.."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    row = bytes([0, 255, 0, 0])
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(row)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def silence() -> bytes:
    """A WAV of one silent sample, 8 kHz, mono, 8 bit."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", 1) + b"\x80\x00"
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG = base64.b64encode(red_pixel()).decode()
WAV = base64.b64encode(silence()).decode()
