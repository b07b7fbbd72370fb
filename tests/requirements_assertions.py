"""What RFC 7521, RFC 7523 and the ID-JAG draft ask of whoever takes an assertion for a grant."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

_PEOPLE = "spec/id_jag/test_identity_assertions.py"
_MANAGED = "spec/id_jag/test_enterprise_managed.py"
_WORKLOADS = "spec/rfc7523/test_workloads.py"
_KEYS = "spec/rfc7523/test_issuer_keys.py"
_ID_JAG = "draft-ietf-oauth-identity-assertion-authz-grant"

ASSERTIONS: dict[str, Requirement] = {
    "grant.parameters": shown(
        "RFC 7523 §2.1",
        "The assertion is one JWT in `assertion`; the request may have a scope.",
        _PEOPLE,
        "test_an_assertion_is_required",
        "test_what_is_no_token_is_no_assertion",
        "test_scopes_are_what_both_allow",
    ),
    "grant.client-optional": shown(
        "RFC 7521 §4.1",
        "A client need not authenticate beside an assertion; if it does, it is checked, and is the assertion's.",
        _WORKLOADS,
        "test_a_workload_is_the_client_of_its_rule",
        "test_a_client_that_proves_itself_is_the_rules",
        "test_a_request_may_name_its_client",
    ),
    "grant.claims": shown(
        "RFC 7523 §3",
        "Issuer, subject, audience and expiry are required, and times, issuer and audience are checked.",
        _PEOPLE,
        "test_what_the_assertion_does_not_say_is_not_given",
        _WORKLOADS,
        "test_a_workload_that_no_rule_means_gets_nothing",
    ),
    "grant.error": shown(
        "RFC 7521 §4.1.1",
        "An assertion that is not good is `invalid_grant`, and the peer is told no more.",
        _WORKLOADS,
        "test_a_workload_that_no_rule_means_gets_nothing",
    ),
    "grant.signature": shown(
        "RFC 7523 §3",
        "The signature holds under a key of the issuer, which comes from no place that the assertion names.",
        _PEOPLE,
        "test_a_key_that_the_assertion_points_to_is_not_looked_for",
        _KEYS,
        "test_another_definition_begins_without_keys",
        "test_a_new_key_is_looked_for_once_in_a_while",
    ),
    "grant.no-refresh": shown(
        "RFC 7521 §4.1",
        "No refresh token is given for an assertion.",
        _PEOPLE,
        "test_an_assertion_gives_one_token_for_its_resource",
    ),
    "id-jag.type": shown(
        _ID_JAG,
        "An ID-JAG is known by its `typ`, and nothing else is one.",
        _PEOPLE,
        "test_a_token_of_another_type_is_no_identity_assertion",
        "test_a_token_of_ours_is_no_assertion",
    ),
    "id-jag.client": shown(
        _ID_JAG,
        "`client_id` is the client that authenticated, which is a confidential one.",
        _PEOPLE,
        "test_a_client_must_prove_itself",
        "test_an_issuer_speaks_for_its_clients_only",
    ),
    "id-jag.replay": shown(
        _ID_JAG,
        "An ID-JAG is good once, whoever comes at the same time.",
        _PEOPLE,
        "test_an_assertion_is_good_once",
        "test_of_fifty_uses_at_once_one_wins",
    ),
    "id-jag.subject": shown(
        _ID_JAG,
        "A subject is one of its issuer and tenant, and of no other.",
        _PEOPLE,
        "test_a_person_is_known_by_issuer_and_subject",
        "test_a_tenant_is_the_one_that_is_trusted",
    ),
    "id-jag.metadata": shown(
        _ID_JAG,
        "The metadata names the profile where it is taken.",
        _MANAGED,
        "test_metadata",
        _WORKLOADS,
        "test_metadata_names_the_grant_where_somebody_is_trusted",
    ),
    "id-jag.confirmation": gap(
        _ID_JAG,
        "An ID-JAG with `cnf` is taken with a proof of the key.",
        "no proof of possession is taken at `/token`, so such an assertion is refused",
    ),
    "managed.resource": shown(
        _ID_JAG,
        "The token is for the `resource` of the assertion, and for nothing else.",
        _MANAGED,
        "test_happy_path",
        "test_with_resource",
        "test_invalid_target",
    ),
    "managed.scope": shown(
        _ID_JAG,
        "The token has scopes that the assertion and the client both have.",
        _MANAGED,
        "test_with_scope",
        "test_invalid_scope",
    ),
    "managed.provider": shown(
        _ID_JAG,
        "Only a provider that is trusted is believed.",
        _MANAGED,
        "test_invalid_signature",
        "test_untrusted_provider",
    ),
}
