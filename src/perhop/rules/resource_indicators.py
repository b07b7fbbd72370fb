"""The `resource` parameter: every request for a token names exactly one resource.

Spec: RFC 8707 §2
"""

from __future__ import annotations

from collections.abc import Sequence

from perhop.core.resource import ResourceUri
from perhop.errors import TargetInvalid, TargetMissing, TargetMultiple
from perhop.rules.resource_uri import parse_resource_uri


def resolve_target(
    values: Sequence[str], *, audience_values: Sequence[str] = (), default: ResourceUri | None = None
) -> ResourceUri:
    """The one resource that a request names, else `default` (which exchange never has).

    Takes every value of `resource` and of `audience`, as received. Does not look whether the resource is registered.

    Spec: RFC 8707 §2
    Spec: RFC 8693 §2.1
    Raises: TargetMissing, TargetMultiple, TargetInvalid
    """
    if len(values) > 1:
        # DEVIATES: RFC 8707 §2 lets `resource` repeat; a token here has one audience, so even equal values are refused.
        raise TargetMultiple("`resource` is there more than once")
    # A parameter without a value counts as absent. Spec: RFC 6749 §3.2
    target = parse_resource_uri(values[0]) if values and values[0] else None
    for audience in filter(None, audience_values):
        if target is None:
            raise TargetInvalid("`audience` without `resource`: the target is a URI, in `resource`")
        if audience != target:
            raise TargetMultiple("`audience` names another target than `resource`")
    resolved = target or default
    if resolved is None:
        raise TargetMissing("`resource` is missing")
    return resolved


def resolve_granted_target(
    values: Sequence[str], *, granted: ResourceUri, audience_values: Sequence[str] = ()
) -> ResourceUri:
    """The resource of a code or a refresh token, fixed when it was granted: a request may repeat it, and name no other.

    Spec: RFC 8707 §2.2
    Raises: TargetMultiple, TargetInvalid
    """
    target = resolve_target(values, audience_values=audience_values, default=granted)
    if target != granted:
        raise TargetInvalid("it was granted for another resource")
    return target
