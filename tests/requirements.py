"""What the specifications ask of Perhop, sentence by sentence, and which test shows it.

Every entry says in our words what must be so, where that is written, and for which MCP revisions it matters (none
named: for all, or the document is not MCP's). It is shown by tests, as `path::function`, or it is a gap, and the gap
says what is missing: data, never a skipped test. docs/spec-coverage.md is made from this table.
"""

from __future__ import annotations

from tests.requirements_assertions import ASSERTIONS
from tests.requirements_authzen import AUTHZEN
from tests.requirements_client import CLIENT
from tests.requirements_dpop import DPOP
from tests.requirements_mcp import MCP
from tests.requirements_newcomers import NEWCOMERS
from tests.requirements_people import PEOPLE
from tests.requirements_step_up import STEP_UP
from tests.support.requirement import Requirement, shown

_EXCHANGE = "spec/rfc8693/test_token_exchange.py"
_VERIFY = "unit/tokens/test_verify.py"
_GUARD = "unit/resource_server/test_guard.py"
_ASGI = "unit/resource_server/test_asgi.py"
_GATEWAY = "flows/test_gateway.py"
_TOKENS = "flows/test_token_endpoint.py"
_AUTHENTICATION = "spec/rfc6749/test_client_authentication.py"
_AUTHORIZE = "flows/test_authorize.py"
_TASKS = "spec/rfc9396/test_agent_tasks.py"
_METADATA = "spec/rfc8414/test_metadata.py"
_REFRESH = "spec/rfc6749/test_refresh_token.py"

OAUTH: dict[str, Requirement] = {
    "token.post-only": shown(
        "RFC 6749 §3.2",
        "Tokens are got by POST; parameters in the query count for nothing.",
        _AUTHENTICATION,
        "test_a_token_is_got_by_post_only",
        "test_parameters_in_the_query_are_not_read",
    ),
    "token.no-repeats": shown(
        "RFC 6749 §3.2",
        "A parameter that comes twice spoils the request.",
        _AUTHENTICATION,
        "test_a_repeated_parameter_is_refused",
    ),
    "client.one-method": shown(
        "RFC 6749 §2.3",
        "A client authenticates in one way, the one it is registered with.",
        _AUTHENTICATION,
        "test_two_methods_at_once_are_refused",
        "test_each_client_has_one_method",
    ),
    "client.basic-encoding": shown(
        "RFC 6749 §2.3.1",
        "Name and secret are form-encoded inside the Basic header.",
        _AUTHENTICATION,
        "test_a_secret_is_form_encoded_inside_the_header",
    ),
    "client.failure": shown(
        "RFC 6749 §5.2",
        "Failed client authentication is 401 `invalid_client`, and says no more.",
        _AUTHENTICATION,
        "test_a_wrong_secret_is_refused",
        _TOKENS,
        "test_refusals_say_nothing_to_the_peer",
    ),
    "scope.syntax": shown(
        "RFC 6749 §3.3",
        "A scope is a list of printable words; one beyond what is allowed is `invalid_scope`.",
        "unit/rules/test_scope.py",
        "test_malformed_scope_is_refused",
        "test_asking_beyond_is_refused",
    ),
    "code.single-use": shown(
        "RFC 6749 §4.1.2",
        "A code is redeemed once; a second try revokes what the first one got.",
        "storage/test_tokens.py",
        "test_one_of_fifty_redeemers_wins",
        "test_a_replay_names_every_token_of_the_code",
    ),
    "redirect.exact": shown(
        "RFC 9700 §2.1",
        "A redirect URI is matched exactly.",
        "unit/rules/test_redirect_uri.py",
        "test_registered_address_is_matched_exactly",
    ),
    "redirect.loopback-port": shown(
        "RFC 8252 §7.3",
        "Only the port of a loopback redirect URI is free.",
        "unit/rules/test_redirect_uri.py",
        "test_loopback_port_is_free",
        "test_only_the_port_is_free",
    ),
    "pkce.example": shown(
        "RFC 7636 §4.6",
        "The verifier must hash to the challenge.",
        "unit/rules/test_pkce.py",
        "test_rfc_7636_example",
        "test_wrong_verifier_is_refused",
    ),
    "pkce.s256-only": shown(
        "RFC 7636 §4.3",
        "`S256` is the only method.",
        "unit/rules/test_pkce.py",
        "test_other_methods_are_refused",
    ),
    "bearer.header-only": shown(
        "RFC 6750 §2.1",
        "A token is read from one well-formed Authorization header.",
        "unit/rules/test_bearer.py",
        "test_one_bearer_token_is_read",
        "test_anything_but_scheme_space_token_is_malformed",
        "test_two_headers_are_malformed",
    ),
    "bearer.no-query": shown(
        "RFC 6750 §2.3",
        "A token in the query is not read.",
        _GATEWAY,
        "test_a_token_in_the_query_is_not_read",
        _ASGI,
        "test_a_token_in_the_query_is_not_seen",
    ),
    "bearer.challenge": shown(
        "RFC 6750 §3",
        "A request without a token gets a challenge without an error code.",
        _GATEWAY,
        "test_no_token_is_a_challenge_without_an_error",
        _GUARD,
        "test_no_token_gets_a_challenge_without_error",
    ),
    "bearer.insufficient-scope": shown(
        "RFC 6750 §3.1",
        "A missing scope is 403 `insufficient_scope` and names the scope.",
        _GATEWAY,
        "test_a_tool_outside_the_scopes_is_a_challenge_that_names_the_scope",
    ),
    "assertion.audience": shown(
        "RFC 7523 §3",
        "A client assertion is addressed to the issuer, signed by the client's key, and good once.",
        "spec/rfc7523/test_private_key_jwt.py",
        "test_an_assertion_for_anything_else_is_refused",
        "test_an_assertion_under_another_key_is_refused",
        "test_an_assertion_is_good_once",
    ),
    "exchange.errors": shown(
        "RFC 8693 §2.2.2",
        "A subject token that is not good is `invalid_request`, a target that is not `invalid_target`.",
        _EXCHANGE,
        "test_a_bad_subject_token_is_an_invalid_request",
        "test_only_a_hop_leads_on",
        "test_two_targets_are_refused",
    ),
    "exchange.act": shown(
        "RFC 8693 §4.1",
        "The child says who acts for whom, with the parent's chain inside.",
        _EXCHANGE,
        "test_the_child_says_who_acts_for_whom",
        "test_the_parents_chain_goes_inside",
    ),
    "exchange.may-act": shown(
        "RFC 8693 §4.4",
        "Only the presenter that `may_act` names may exchange.",
        _EXCHANGE,
        "test_may_act_lets_the_named_presenter_pass",
        "unit/rules/test_delegation.py",
        "test_other_presenter_may_not_act",
    ),
    "exchange.presenter": shown(
        "RFC 8693 §2.1",
        "Only whom a token addresses may exchange it, and only narrower tokens come out.",
        _EXCHANGE,
        "test_only_the_server_itself_presents",
        "test_scopes_map_through_the_hop_and_only_shrink",
        "test_a_child_does_not_outlive_its_parent",
    ),
    "resource.one": shown(
        "RFC 8707 §2",
        "A token request names one resource; two, none or an unknown one are `invalid_target`.",
        "unit/rules/test_resource_indicators.py",
        "test_two_resources_are_refused",
        "test_missing_resource_is_refused",
        _TOKENS,
        "test_only_a_reached_resource_may_be_asked_for",
    ),
    "resource.uri": shown(
        "RFC 8707 §2",
        "A resource is an absolute URI without a fragment.",
        "spec/rfc8707/test_resource_parameter.py",
        "test_resource_is_an_absolute_uri",
        "test_resource_has_no_fragment",
    ),
    "resource.refresh": shown(
        "RFC 8707 §2.2",
        "A refresh token stays with its resource.",
        "spec/rfc8707/test_refresh_resource.py",
        "test_a_refresh_token_knows_its_resource",
        "test_a_refresh_token_stays_with_its_resource",
        "test_two_resources_are_refused_at_refresh",
    ),
    "oauth.introspection": shown(
        "RFC 7662 §2.2",
        "Whether a token is in force, and what it says, is told to the server that it addresses, and to nobody else.",
        "spec/rfc7662/test_introspect.py",
        "test_the_server_learns_what_the_token_says",
        "test_nobody_else_learns_anything",
        "test_what_is_over_is_not_active",
        "test_introspection_needs_client_and_token",
    ),
    "oauth.refresh": shown(
        "RFC 6749 §6",
        "A refresh token is its client's alone, and never gives more than was allowed.",
        _REFRESH,
        "test_another_client_spends_nothing",
        "test_a_client_with_a_secret_shows_it",
        "test_scopes_may_be_narrowed_for_one_token",
        "test_scopes_are_never_widened",
    ),
    "oauth.refresh-reuse": shown(
        "RFC 9700 §4.14.2",
        "A refresh token that was used before ends its family, with every token of it.",
        _REFRESH,
        "test_a_token_that_comes_again_ends_the_family",
        "test_of_fifty_uses_at_once_one_succeeds",
        "test_an_unused_token_is_good_for_two_weeks",
    ),
    "oauth.refresh-given-back": shown(
        "RFC 7009 §2.1",
        "A client gives a refresh token back, and the access tokens of its grant end with it.",
        "spec/rfc7009/test_revoke.py",
        "test_a_refresh_token_is_given_back",
        "test_only_its_client_gives_a_refresh_token_back",
    ),
    "jwt.claims": shown(
        "RFC 9068 §2.2",
        "Tokens have every required claim, and are refused without.",
        "spec/rfc9068/test_access_token.py",
        "test_tokens_have_every_required_claim",
        "test_required_claims_are_demanded_of_every_issuer",
    ),
    "jwt.validation": shown(
        "RFC 9068 §4",
        "Type, issuer, audience, signature and expiry are checked, each refused for its own reason.",
        "spec/rfc9068/test_access_token.py",
        "test_validation_of_the_type",
        "test_validation_of_the_issuer",
        "test_validation_of_the_audience",
        "test_validation_of_the_signature",
        "test_validation_of_the_expiry",
    ),
    "jwt.algorithms": shown(
        "RFC 8725 §3.1",
        "The key decides the algorithm; `none` and a public key used as a secret are refused.",
        _VERIFY,
        "test_unsigned_and_foreign_algorithms_are_refused",
        "test_public_key_is_no_secret",
    ),
    "jwt.type": shown(
        "RFC 8725 §3.11",
        "A token of another kind does not pass for an access token.",
        _VERIFY,
        "test_other_kinds_of_token_are_refused",
        "test_both_spellings_of_the_type",
    ),
    "jws.examples": shown(
        "RFC 7515 Appendix A",
        "The examples of the standard hold, and do not once altered.",
        "spec/rfc7515/test_examples.py",
        "test_signature_of_the_example_holds",
        "test_altered_example_does_not_hold",
    ),
    "jwk.thumbprint": shown(
        "RFC 7638 §3.1",
        "A key is named by its thumbprint.",
        "spec/rfc7638/test_thumbprint.py",
        "test_thumbprint_of_the_example",
    ),
    "jcs.samples": shown(
        "RFC 8785 §3.2",
        "Canonical JSON is that of the standard; integers of any size are plain decimals.",
        "unit/rules/test_canonical_json.py",
        "test_rfc_8785_sample",
        "test_rfc_8785_numbers",
        "test_integers_of_any_size_are_plain_decimal",
    ),
    "prm.path": shown(
        "RFC 9728 §3.1",
        "Metadata lies at the path form, and repeats the resource.",
        "unit/rules/test_challenge.py",
        "test_the_metadata_goes_between_host_and_path",
        "test_the_document_repeats_the_resource",
    ),
    "log.proofs": shown(
        "RFC 9162 §2.1",
        "Roots, inclusion and consistency proofs are those of the standard.",
        "spec/rfc9162/test_merkle_tree.py",
        "test_root_of_the_first_leaves",
        "test_inclusion_proof",
        "test_consistency_proof",
    ),
    "log.notes": shown(
        "C2SP signed-note §Signatures",
        "A checkpoint is a signed note; any change to it is noticed.",
        "unit/journal/test_checkpoint.py",
        "test_the_reference_key_signs_the_reference_note",
        "test_every_changed_character_is_noticed",
    ),
    "discovery.issuer": shown(
        "RFC 8414 §3.3",
        "A metadata document counts only for the issuer that it names.",
        "unit/client/test_discovery.py",
        "test_a_document_of_another_issuer_ends_the_search",
    ),
    "pkce.flow": shown(
        "RFC 7636 §4.4",
        "No code without an S256 challenge, no token without its verifier.",
        "spec/rfc7636/test_pkce_at_the_endpoints.py",
        "test_a_request_without_an_s256_challenge_is_refused",
        "test_a_code_without_its_verifier_is_worth_nothing",
        "test_the_right_verifier_redeems",
    ),
    "consent.clickjacking": shown(
        "RFC 9700 §4.16",
        "Pages for people cannot be framed, and a form of another site decides nothing.",
        _AUTHORIZE,
        "test_pages_are_protected",
        "test_a_form_of_another_site_decides_nothing",
    ),
    "authorize.iss": shown(
        "RFC 9207 §2",
        "Every answer of `/authorize`, also an error, names the issuer.",
        "spec/rfc9207/test_issuer_in_responses.py",
        "test_every_response_names_the_issuer",
    ),
    "details.one-known-type": shown(
        "RFC 9396 §5",
        "Details of an unknown type, malformed, or not for this client are `invalid_authorization_details`.",
        _TASKS,
        "test_only_a_task_in_force_and_ones_own_gives_tokens",
        "unit/rules/test_task.py",
        "test_anything_else_names_no_task",
    ),
    "details.at-token-endpoint": shown(
        "RFC 9396 §6",
        "At the token endpoint the request can name what was granted, and nothing beyond it.",
        "flows/test_tasks_people.py",
        "test_a_code_is_redeemed_under_its_own_task_only",
        _TASKS,
        "test_exchange_carries_the_task_along",
    ),
    "details.in-the-token": shown(
        "RFC 9396 §9.1",
        "The token carries the authorization details that it is good for.",
        _TASKS,
        "test_a_token_names_the_task_and_is_recorded_with_it",
    ),
    "details.metadata": shown(
        "RFC 9396 §10",
        "The metadata names the types that are supported.",
        _TASKS,
        "test_the_metadata_says_what_requests_may_name",
    ),
    "revoke.own": shown(
        "RFC 7009 §2.1",
        "A client revokes its own tokens and nobody else's.",
        "spec/rfc7009/test_revoke.py",
        "test_a_client_gives_back_its_token",
        "test_nobody_else_may_revoke",
    ),
    "revoke.unknown": shown(
        "RFC 7009 §2.2",
        "A token that is not good any more is revoked already.",
        "spec/rfc7009/test_revoke.py",
        "test_what_is_no_token_of_ours_is_revoked_already",
    ),
    "metadata.document": shown(
        "RFC 8414 §2",
        "The metadata names what is built, and every endpoint that it names answers.",
        _METADATA,
        "test_the_document_says_what_is_built",
        "test_every_endpoint_that_is_named_answers",
    ),
    "metadata.path": shown(
        "RFC 8414 §3.1",
        "The metadata of an issuer with a path lies where the path form says.",
        _METADATA,
        "test_an_issuer_with_a_path",
    ),
    "prm.challenge": shown(
        "RFC 9728 §5.1",
        "The challenge says where the metadata is.",
        "spec/rfc9728/test_protected_resource_metadata.py",
        "test_the_document_is_where_the_challenge_says",
    ),
}

REQUIREMENTS: dict[str, Requirement] = {
    **OAUTH,
    **ASSERTIONS,
    **CLIENT,
    **DPOP,
    **NEWCOMERS,
    **PEOPLE,
    **STEP_UP,
    **AUTHZEN,
    **MCP,
}
