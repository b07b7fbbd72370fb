"""What the specifications ask of our client library; part of the table in tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, shown

_SIGN_IN = "unit/client/test_sign_in.py"
_FLOWS = "flows/test_sign_in.py"
_ANSWERS = "spec/rfc9207/test_issuer_in_answers_to_our_client.py"
_READ = "spec/rfc8414/test_metadata_as_our_client_reads_it.py"
_RESOURCES = "spec/rfc9728/test_metadata_as_our_client_reads_it.py"
_BROWSER = "unit/client/test_browser.py"
_PROOFS = "unit/client/test_proof_key.py"
_GRANTS = "unit/client/test_grants.py"

_MCP = "MCP 2026-07-28 authorization"
_MODERN = ("2026-07-28",)
_LATE = ("2025-11-25", "2026-07-28")
_ALL = ("2025-06-18", "2025-11-25", "2026-07-28")

CLIENT: dict[str, Requirement] = {
    "client.challenge-grammar": shown(
        "RFC 9110 §11.6.1",
        "A client reads challenges as they are written, several of them, and no half of a malformed one.",
        "unit/rules/test_www_authenticate.py",
        "test_what_a_field_says",
        "test_a_field_that_is_no_challenge_says_nothing",
    ),
    "client.resource-discovery": shown(
        "RFC 9728 §3.1",
        "Metadata is looked for where the challenge points, beside the path, and at the root.",
        _RESOURCES,
        "test_a_challenge_names_the_document_first",
        "test_a_server_that_says_nothing_is_not_guessed_at",
    ),
    "client.resource-identifier": shown(
        "RFC 9728 §3.3",
        "A document that names another resource than the one that was asked about is not used.",
        _RESOURCES,
        "test_the_identifier_must_be_the_one_that_was_asked_about",
        _SIGN_IN,
        "test_a_server_that_describes_another_is_left",
    ),
    "client.issuer-metadata": shown(
        "RFC 8414 §3.3",
        "Metadata whose issuer is not identical to the identifier that was used is not used.",
        _READ,
        "test_the_issuer_must_be_identical",
        "test_the_three_places_are_asked_in_order",
    ),
    "client.issuer-of-answer": shown(
        "RFC 9207 §2.4",
        "The client compares the issuer of an authorization answer, also of an error, before it believes it.",
        _ANSWERS,
        "test_another_issuer_is_refused_without_repair",
        "test_an_error_of_another_issuer_is_not_shown",
    ),
    "client.issuer-promised": shown(
        "RFC 9207 §2.4",
        "An answer without the issuer is refused where the server promises one.",
        _ANSWERS,
        "test_an_issuer_that_promised_to_name_itself_must",
    ),
    "client.pkce-per-request": shown(
        "RFC 7636 §4.1",
        "The client makes a new verifier for each authorization request, and sends its S256 challenge.",
        "spec/rfc7636/test_pkce_of_our_client.py",
        "test_each_request_has_a_verifier_of_its_own",
    ),
    "client.loopback": shown(
        "RFC 8252 §7.3",
        "A native program listens on a loopback port of the moment, and closes it afterwards.",
        "spec/rfc8252/test_loopback_of_our_client.py",
        "test_the_port_is_whatever_is_free_and_closed_afterwards",
        "test_the_address_is_spelled_as_it_was_registered",
    ),
    "client.native": shown(
        "RFC 8252 §8.4",
        "A program on a person's machine registers as a native one, and takes no secret where it can do without.",
        "spec/rfc8252/test_loopback_of_our_client.py",
        "test_a_program_says_that_it_is_native_and_keeps_no_secret",
    ),
    "client.state": shown(
        "RFC 6749 §10.12",
        "An answer counts only with the state of the request; whatever else comes to the address is told nothing.",
        "unit/rules/test_authorization_answer.py",
        "test_an_answer_without_our_state_is_to_somebody_else",
        _BROWSER,
        "test_whatever_else_knocks_is_not_the_answer",
    ),
    "client.proofs": shown(
        "RFC 9449 §4.2",
        "Each request has a proof of its own, with method, address, time and the token's hash.",
        _PROOFS,
        "test_a_proof_is_for_one_request",
    ),
    "client.proof-nonces": shown(
        "RFC 9449 §8",
        "A nonce of an authorization server or a resource is used in the next proof for it, and for nobody else.",
        _PROOFS,
        "test_nonces_are_taken_from_either_side",
        "test_a_nonce_is_of_one_server",
    ),
    "client.bound-token": shown(
        "RFC 9449 §5",
        "A bearer token that comes in the place of a bound one is not used.",
        _PROOFS,
        "test_a_bearer_token_is_not_taken_for_a_bound_one",
    ),
    "client.workload": shown(
        "RFC 7523 §2.1",
        "A workload asks with the JWT of its platform, and does not try again what was refused.",
        _GRANTS,
        "test_a_workload_asks_with_its_platforms_jwt",
        "test_what_is_refused_is_not_tried_again",
    ),
    "client.id-jag": shown(
        "RFC 8693 §2.1",
        "A person's ID token becomes an ID-JAG at the company, addressed to one authorization server and one resource.",
        _GRANTS,
        "test_the_company_says_where_a_person_may_go",
        "test_what_is_no_id_jag_is_not_passed_on",
    ),
    "client.mcp-pkce-promised": shown(
        _MCP,
        "A client refuses an authorization server that does not promise PKCE with S256.",
        _SIGN_IN,
        "test_without_a_promise_of_pkce_nobody_is_sent_away",
        revisions=_LATE,
    ),
    "client.mcp-discovery": shown(
        _MCP,
        "A person signs in by discovery alone, with the resource in both requests.",
        _FLOWS,
        "test_a_person_signs_in_and_stays",
        _SIGN_IN,
        "test_a_person_signs_in_once",
        revisions=_ALL,
    ),
    "client.mcp-credentials-by-issuer": shown(
        _MCP,
        "Credentials belong to one issuer; where the server names another, the client registers anew or says so.",
        _SIGN_IN,
        "test_a_server_that_moves_to_another_issuer_takes_no_credentials_along",
        "test_a_client_is_what_it_is_at_one_issuer",
        revisions=_MODERN,
    ),
    "client.mcp-registration-order": shown(
        _MCP,
        "Registered beforehand, else by document, else by registration, else a clear error.",
        _SIGN_IN,
        "test_a_client_is_what_it_is_at_one_issuer",
        "test_a_document_names_the_client_where_documents_are_taken",
        "test_who_cannot_register_is_told_so",
        revisions=_LATE,
    ),
    "client.mcp-scopes": shown(
        _MCP,
        "The challenge's scopes, else all of the resource's, else none; `offline_access` where it is offered.",
        "unit/rules/test_scope_choice.py",
        "test_which_scopes_are_asked_for",
        _SIGN_IN,
        "test_offline_access_is_asked_for_where_it_is_offered",
        revisions=_LATE,
    ),
    "client.mcp-step-up": shown(
        _MCP,
        "A 403 for a scope leads to one more request for the union, and a limited number of them.",
        _SIGN_IN,
        "test_more_scopes_are_asked_for_beside_those_of_before",
        "test_a_server_that_is_never_content_is_not_asked_for_ever",
        revisions=_LATE,
    ),
    "client.mcp-refresh": shown(
        _MCP,
        "Refresh tokens are kept from everybody but their issuer, replaced, and forgotten when refused.",
        _SIGN_IN,
        "test_a_token_is_refreshed_with_a_token_that_is_replaced",
        "test_a_refresh_token_that_is_refused_is_forgotten_and_the_person_asked",
        revisions=_ALL,
    ),
    "client.mcp-browser": shown(
        "MCP 2026-07-28 security best practices",
        "People are shown https, or http on this machine, and no other address.",
        _SIGN_IN,
        "test_an_authorization_endpoint_is_for_browsers",
        _BROWSER,
        "test_who_cannot_be_asked_or_does_not_come_back_is_told",
        revisions=_ALL,
    ),
}
