"""Which resources another proxy can carry only if it sends bodies along: what an operator should know beforehand."""

from __future__ import annotations

from perhop.core.resource import DataPlane
from perhop.gateway.data_planes.forward_auth import what_needs_the_body
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import load_policies
from perhop.settings import Settings

ADVICE = "let the proxy send the body, take `data_plane: gateway`, or change what needs the body"


def needing_bodies(settings: Settings, policy: PolicyEngine | None = None) -> dict[str, str]:
    """Name of a resource -> why `/authz` answers 503 for it unless the body of the call comes along.

    Goes by the policies of the folder, unless those in force are given.

    Raises: PolicyError
    """
    carried = [each for each in settings.registry.resources.values() if each.data_plane is DataPlane.FORWARD_AUTH]
    if not carried:
        return {}
    if policy is None:
        policy = PolicyEngine(load_policies(settings.policies_dir), settings.registry)
    whys = ((resource.name, what_needs_the_body(resource, policy)) for resource in carried)
    return {name: why for name, why in whys if why}
