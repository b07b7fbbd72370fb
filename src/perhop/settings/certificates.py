"""Files of certificates that are believed instead of the system's."""

from __future__ import annotations

import ssl
from pathlib import Path

from perhop.settings.problems import Findings
from perhop.settings.sources import Key


def read_certificates(where: tuple[Key, ...], file: Path, findings: Findings) -> str | None:
    """The text of the file, so that a file that changed counts as another; None if a problem was noted."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
        ssl.create_default_context(cadata=text)
    except OSError as error:  # an ssl.SSLError is one
        said = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate that can be used"
        findings.add(where, f"`{file}` cannot be read: {said}", "it must be PEM: `-----BEGIN CERTIFICATE-----`")
        return None
    except ValueError:
        findings.add(where, f"`{file}` holds no certificate", "it must be PEM: `-----BEGIN CERTIFICATE-----`")
        return None
    return text
