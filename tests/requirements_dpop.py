"""What RFC 9449 asks of an authorization server and of a resource, and which test shows it."""

from __future__ import annotations

from tests.support.requirement import Requirement, shown

_PROOFS = "spec/rfc9449/test_proofs.py"
_TOKENS = "spec/rfc9449/test_token_endpoint.py"
_GATEWAY = "flows/test_gateway_dpop.py"
_GUARD = "unit/resource_server/test_guard_dpop.py"
_STORES = "unit/resource_server/test_replay_proofs.py"

DPOP: dict[str, Requirement] = {
    "dpop.one-header": shown(
        "RFC 9449 §4.3",
        "A request has exactly one proof.",
        _PROOFS,
        "test_a_request_has_exactly_one_proof",
        _TOKENS,
        "test_two_proofs_are_none",
    ),
    "dpop.proof": shown(
        "RFC 9449 §4.3",
        "A proof is of its type, under an asymmetric algorithm, signed by the public key that it brings, and of this "
        "request, token and time.",
        _PROOFS,
        "test_the_examples_lack_nothing_but_our_nonce",
        "test_a_proof_with_one_thing_wrong_is_refused",
        "test_what_signs_tokens_signs_proofs",
        _GATEWAY,
        "test_a_proof_is_for_this_request",
        _GUARD,
        "test_a_proof_is_for_the_path_that_was_asked_for",
    ),
    "dpop.uri": shown(
        "RFC 9449 §4.3",
        "URIs are compared after normalisation, without query and fragment, and with what is configured.",
        _PROOFS,
        "test_one_uri_has_several_spellings",
        "test_what_is_no_web_address_equals_nothing",
        _GATEWAY,
        "test_the_uri_is_the_configured_one",
    ),
    "dpop.token-request": shown(
        "RFC 9449 §5",
        "With a proof every grant gives a token of type `DPoP`; a bad proof is 400 `invalid_dpop_proof`.",
        _TOKENS,
        "test_every_grant_gives_a_token_for_the_proved_key",
        "test_a_proof_that_is_not_good_gives_no_token",
    ),
    "dpop.public-refresh": shown(
        "RFC 9449 §5",
        "The refresh token of a public client is bound to its key; that of a confidential one is not.",
        _TOKENS,
        "test_a_public_clients_refresh_token_is_bound_to_its_key",
        "test_a_client_with_a_secret_may_change_its_key",
    ),
    "dpop.metadata": shown(
        "RFC 9449 §5.1",
        "The metadata names asymmetric algorithms.",
        _TOKENS,
        "test_metadata_names_the_algorithms",
    ),
    "dpop.registered": shown(
        "RFC 9449 §5.2",
        "A client that is registered so gets no token without a proof.",
        _TOKENS,
        "test_a_client_may_be_given_bound_tokens_only",
    ),
    "dpop.confirmation": shown(
        "RFC 9449 §6.1",
        "The token names the thumbprint of the key, and introspection tells it.",
        _TOKENS,
        "test_every_grant_gives_a_token_for_the_proved_key",
        "test_introspection_tells_the_key",
    ),
    "dpop.scheme": shown(
        "RFC 9449 §7.1",
        "A bound token comes with the scheme DPoP and a proof of its own key; the challenge names the algorithms.",
        _GATEWAY,
        "test_a_bound_token_passes_with_a_proof",
        "test_a_proof_under_another_key_names_that_key_in_the_journal",
        "test_a_bearer_token_does_not_come_as_a_bound_one",
        _GUARD,
        "test_a_bound_token_is_admitted_with_a_proof",
        "test_a_bound_token_alone_is_refused",
        "unit/rules/test_challenge.py",
        "test_a_token_that_needs_a_proof_hears_of_no_other_way",
    ),
    "dpop.downgrade": shown(
        "RFC 9449 §7.2",
        "A bound token is refused as a bearer token.",
        _GATEWAY,
        "test_a_bound_token_alone_is_nothing",
        _GUARD,
        "test_a_bound_token_alone_is_refused",
    ),
    "dpop.nonce.server": shown(
        "RFC 9449 §8",
        "The authorization server tells a nonce of its own, which is good for a while and nowhere else.",
        _TOKENS,
        "test_a_nonce_is_asked_for_and_costs_nothing",
        _PROOFS,
        "test_a_nonce_is_of_this_server_and_lately",
        "test_a_nonce_is_taken_for_two_minutes",
    ),
    "dpop.nonce.resource": shown(
        "RFC 9449 §9",
        "So does a resource: 401 with `use_dpop_nonce`, and the next nonce with every answer.",
        _GATEWAY,
        "test_without_a_nonce_one_is_asked_for",
        _GUARD,
        "test_a_proof_grows_old",
        "test_the_application_sees_a_bearer_token",
    ),
    "dpop.code": shown(
        "RFC 9449 §10",
        "`dpop_jkt` binds a code to a key.",
        _TOKENS,
        "test_a_code_is_redeemed_with_the_key_that_it_was_asked_for",
        "test_a_key_that_is_none_binds_no_code",
    ),
    "dpop.replay": shown(
        "RFC 9449 §11.1",
        "A proof counts once, and where that cannot be told it does not count.",
        _TOKENS,
        "test_of_fifty_with_one_proof_one_wins",
        "test_what_cannot_be_told_is_refused",
        _GATEWAY,
        "test_a_proof_passes_once",
        "test_what_cannot_be_told_does_not_pass",
        _GUARD,
        "test_a_proof_is_used_up",
        "test_workers_with_one_file_take_one_proof_once",
        _STORES,
        "test_of_many_at_once_one_wins",
        "test_what_is_stale_is_forgotten_and_does_not_come_back",
    ),
    "dpop.made-ahead": shown(
        "RFC 9449 §11.2",
        "A proof of another time is refused, and one that was made before its nonce was given.",
        _PROOFS,
        "test_a_proof_counts_for_a_minute_either_way",
        "test_a_nonce_is_of_this_server_and_lately",
    ),
    "dpop.required": shown(
        "RFC 9728 §2",
        "A resource that takes bound tokens only says so in its metadata.",
        _GATEWAY,
        "test_a_resource_may_take_bound_tokens_only",
        _GUARD,
        "test_a_guard_may_take_bound_tokens_only",
    ),
}
