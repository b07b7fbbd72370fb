"""What RFC 9470 and OpenID Connect ask where a person has to sign in anew; see tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

_STEP_UP = "spec/rfc9470/test_step_up.py"
_REQUEST = "spec/oidc_core_1_0/test_authentication_request.py"

STEP_UP: dict[str, Requirement] = {
    "step-up.challenge": shown(
        "RFC 9470 §3",
        "A call whose token rests on too old or another sign-in is answered 401 `insufficient_user_authentication`, "
        "with `max_age` and `acr_values` as they are needed.",
        _STEP_UP,
        "test_a_call_that_needs_a_newer_sign_in_is_challenged",
        "test_the_strictest_counts_and_nobody_is_challenged_in_vain",
        "test_the_gateways_own_exchange_challenges_too",
    ),
    "step-up.client": shown(
        "RFC 9470 §4",
        "A client hands on the challenge's `max_age` and `acr_values` in its next authorization request.",
        _STEP_UP,
        "test_our_client_has_the_person_sign_in_again_once",
    ),
    "step-up.unmet": shown(
        "RFC 9470 §5",
        "Who cannot be signed in as `acr_values` want is sent on with `unmet_authentication_requirements`.",
        _STEP_UP,
        "test_a_way_to_sign_in_is_the_providers",
        "test_passwords_are_no_way_that_could_be_wanted",
    ),
    "step-up.claims": shown(
        "RFC 9470 §6.1",
        "Access tokens say `auth_time` and `acr` of the sign-in that they rest on.",
        _STEP_UP,
        "test_tokens_say_when_the_person_signed_in",
        "test_a_way_to_sign_in_is_the_providers",
    ),
    "step-up.refresh-keeps": shown(
        "RFC 9068 §2.2.1",
        "`auth_time` and `acr` stay what they were when a refresh token is used; so they do after an exchange.",
        _STEP_UP,
        "test_tokens_say_when_the_person_signed_in",
    ),
    "step-up.true-claims": shown(
        "RFC 9068 §2.2.1",
        "A sign-in that nobody knows the time of, and one after the token, are not said and not believed.",
        _STEP_UP,
        "test_a_time_that_the_provider_does_not_say_is_not_in_tokens",
        "test_a_time_of_the_future_is_no_sign_in",
    ),
    "step-up.introspection": shown(
        "RFC 9470 §6.2",
        "Introspection tells `auth_time` and `acr`.",
        _STEP_UP,
        "test_tokens_say_when_the_person_signed_in",
    ),
    "step-up.metadata": gap(
        "RFC 9470 §7",
        "`acr_values_supported` says which ways to sign in there are.",
        "the ways are the providers', who change them without telling: the member is left out",
    ),
    "oidc.prompt-none": shown(
        "OpenID Connect Core 1.0 §3.1.2.1",
        "With `prompt=none` no page is shown: `login_required` or `consent_required` goes to the application.",
        _REQUEST,
        "test_prompt_none_shows_no_page",
    ),
    "oidc.prompt-values": shown(
        "OpenID Connect Core 1.0 §3.1.2.1",
        "`none` stands alone, `login` has the person sign in again, `consent` asks them again.",
        _REQUEST,
        "test_what_we_do_not_understand_is_refused",
        "test_prompt_login_has_the_person_sign_in",
        "test_prompt_consent_asks_anew",
    ),
    "oidc.max-age": shown(
        "OpenID Connect Core 1.0 §3.1.2.1",
        "Who signed in longer than `max_age` seconds ago signs in again, at a provider too.",
        _REQUEST,
        "test_an_old_session_does_not_do_for_max_age",
        "test_a_provider_is_held_to_it",
    ),
}
