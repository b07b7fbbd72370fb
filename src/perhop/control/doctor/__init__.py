"""`perhop doctor`: looks at an installation from its files and from outside; changes and records nothing."""

from perhop.control.doctor.finding import Finding, Status
from perhop.control.doctor.table import CHECKS, Check, diagnose, not_loading

__all__ = ["CHECKS", "Check", "Finding", "Status", "diagnose", "not_loading"]
