"""What OpenID Connect and OAuth ask of Perhop where people sign in; see tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

_RELYING = "spec/oidc_core_1_0/test_relying_party.py"
_FEDERATION = "flows/test_federation.py"
_CONSOLE = "flows/test_console_federation.py"
_THROTTLE = "flows/test_sign_in_throttle.py"
_MY_ACCESS = "flows/test_my_access.py"

PEOPLE: dict[str, Requirement] = {
    "oidc.id-token": shown(
        "OpenID Connect Core 1.0 §3.1.3.7",
        "An ID token is taken only with the issuer, audience, authorized party, times and nonce that were asked for.",
        _RELYING,
        "test_the_claims_of_an_id_token",
        "test_an_id_token_at_the_bounds",
        "test_an_id_token_of_another_sign_in",
    ),
    "oidc.id-token-signature": shown(
        "OpenID Connect Core 1.0 §3.1.3.7",
        "Its signature holds under a key that the provider publishes, by an algorithm of that key.",
        _RELYING,
        "test_the_signature_of_an_id_token",
        "test_the_keys_of_providers",
        "test_another_kind_of_token_is_no_id_token",
    ),
    "oidc.at-hash": shown(
        "OpenID Connect Core 1.0 §3.1.3.8",
        "Where there is an `at_hash`, it is that of the access token that came along.",
        _RELYING,
        "test_the_claims_of_an_id_token",
        "test_the_access_token_that_came_with_it",
    ),
    "oidc.userinfo-subject": shown(
        "OpenID Connect Core 1.0 §5.3.2",
        "UserInfo of another subject than the ID token's is not used.",
        _FEDERATION,
        "test_userinfo_says_what_the_id_token_does_not",
    ),
    "oidc.stable-subject": shown(
        "OpenID Connect Core 1.0 §5.7",
        "A person is issuer and subject together; an address identifies nobody.",
        _FEDERATION,
        "test_a_subject_is_its_issuers",
        "test_a_person_of_a_provider_gives_an_application_a_token",
    ),
    "oidc.auth-time": shown(
        "OpenID Connect Core 1.0 §3.1.2.1",
        "With `max_age` the answer says when the person signed in, and that is not longer ago.",
        _CONSOLE,
        "test_a_session_is_as_old_as_the_sign_in_there",
    ),
    "oidc.discovery-issuer": shown(
        "OpenID Connect Discovery 1.0 §4.3",
        "Metadata counts only if its issuer is exactly the one that it was asked for.",
        _FEDERATION,
        "test_metadata_that_is_not_good_is_none",
    ),
    "oidc.encrypted-id-token": gap(
        "OpenID Connect Core 1.0 §3.1.3.7",
        "An ID token may be encrypted to us, where that was agreed on.",
        "encrypted ID tokens are not read; none is asked for",
    ),
    "oidc.logout": gap(
        "OpenID Connect Core 1.0 §1",
        "A provider may tell its relying parties that somebody has signed out there.",
        "back-channel logout is not heard: sessions end after eight hours, or with the account",
    ),
    "mix-up.issuer": shown(
        "RFC 9207 §2.4",
        "An answer of another issuer, or of none where one is promised, is refused before its code is used.",
        _RELYING,
        "test_the_answer_names_its_issuer",
        "test_a_provider_that_names_no_issuer",
    ),
    "mix-up.redirect-uri": shown(
        "RFC 9700 §4.4.2",
        "Each provider has a redirect URI of its own, and an answer at another's is refused.",
        _RELYING,
        "test_a_code_of_one_provider_never_reaches_another",
    ),
    "csrf.state": shown(
        "RFC 9700 §4.7.1",
        "An answer counts once, and only in the browser in which it was asked for.",
        _RELYING,
        "test_an_answer_is_taken_once",
        _FEDERATION,
        "test_a_sign_in_waits_ten_minutes",
    ),
    "my-access.csrf": shown(
        "RFC 9700 §4.7.1",
        "What a person takes back is taken back by a form that was shown to their own session.",
        _MY_ACCESS,
        "test_a_form_is_its_sessions",
        "test_stopping_ends_all_of_it_at_once",
    ),
    "passwords.guessing": shown(
        "RFC 6749 §10.10",
        "Whoever guesses passwords is slowed down, and locks nobody out.",
        _THROTTLE,
        "test_wrong_passwords_slow_down_who_types_them",
        "test_nobody_locks_an_account",
        "test_a_browser_that_is_known_is_not_slowed_by_others",
    ),
}
