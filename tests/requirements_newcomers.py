"""What registration and client ID metadata documents ask of Perhop; see tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

_DRAFT = "draft-ietf-oauth-client-id-metadata-document"
_CIMD = "spec/cimd/test_client_id_metadata_documents.py"
_DOCUMENTS = "unit/authorization_server/test_documents.py"
_REGISTRATION = "spec/rfc7591/test_registration.py"

NEWCOMERS: dict[str, Requirement] = {
    "cimd.url": shown(
        f"{_DRAFT} §3",
        "A client id that is a URL is https, with a path, and without fragment, user information or dot segments.",
        _CIMD,
        "test_a_client_id_has_one_spelling",
    ),
    "cimd.own-document": shown(
        f"{_DRAFT} §4.1",
        "A document counts for the client whose URL it names exactly, and holds no shared secret.",
        _CIMD,
        "test_a_document_that_is_not_good_is_no_client",
        "test_a_list_is_no_document",
    ),
    "cimd.failure": shown(
        f"{_DRAFT} §4.3",
        "Without a document that is good, nothing is authorized.",
        _CIMD,
        "test_only_a_whole_json_answer_of_200_counts",
        "test_a_document_that_is_gone_gives_nothing_more",
    ),
    "cimd.caching": shown(
        f"{_DRAFT} §4.4",
        "A document is kept as HTTP says, within bounds; an error, or what is not good, never is.",
        _CIMD,
        "test_a_document_is_read_again_when_its_server_says",
        "test_a_failure_is_no_document",
        "unit/rules/test_client_metadata.py",
        "test_how_long_a_document_is_fresh",
        _DOCUMENTS,
        "test_a_failure_is_shared_and_remembered_for_a_while",
    ),
    "cimd.metadata": shown(
        f"{_DRAFT} §5",
        "The metadata says that documents are read.",
        _CIMD,
        "test_metadata_says_that_documents_are_read",
    ),
    "cimd.keys": shown(
        f"{_DRAFT} §6.2",
        "A client with keys proves itself by them, and by nothing that everybody can read.",
        _CIMD,
        "test_keys_at_an_address_of_their_own",
        "test_a_key_set_that_is_not_good_is_no_client",
    ),
    "cimd.changes": shown(
        f"{_DRAFT} §6.3",
        "What a person allowed lapses when the redirect URIs or the keys change.",
        _CIMD,
        "test_a_document_that_changed_is_asked_about_again",
    ),
    "cimd.ssrf": shown(
        f"{_DRAFT} §6.5",
        "Neither the document nor what it names is fetched from an address that is not public.",
        "unit/authorization_server/test_guarded_fetch.py",
        "test_loopback_is_inner_unless_a_rule_lists_it",
        "unit/rules/test_public_address.py",
        "test_an_address_that_is_not_public",
        _CIMD,
        "test_keys_are_fetched_by_the_same_guard",
    ),
    "cimd.size": shown(
        f"{_DRAFT} §6.6",
        "A document is 5 KiB at most.",
        _CIMD,
        "test_a_document_has_five_kibibytes_at_most",
    ),
    "registration.answer": shown(
        "RFC 7591 §3.2.1",
        "The answer is 201 with an id, a secret if there is one, and what was registered.",
        _REGISTRATION,
        "test_what_was_registered_is_told",
        "test_a_secret_is_shown_once_and_kept_as_a_hash",
    ),
    "registration.errors": shown(
        "RFC 7591 §3.2.2",
        "What cannot be registered is refused as redirect URI or as metadata.",
        _REGISTRATION,
        "test_what_cannot_be_registered_is_refused",
        "test_what_is_no_json_is_refused",
    ),
    "registration.open": shown(
        "RFC 7591 §5",
        "Open registration gives nothing by itself, and is bounded.",
        _REGISTRATION,
        "test_until_it_is_adopted_nothing_is_given",
        "test_one_network_cannot_take_all_the_room",
        "test_a_client_that_nobody_adopts_lapses",
    ),
    "registration.statements": gap(
        "RFC 7591 §2.3",
        "A software statement can say what a client is.",
        "software statements are passed over, as the RFC lets a server do that does not support them",
    ),
}
