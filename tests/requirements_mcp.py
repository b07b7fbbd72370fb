"""What MCP asks of Perhop; the rest of the table, and what it is for, is in tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

LEGACY = ("2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
EVERY = (*LEGACY, *MODERN)

_GUARD = "unit/resource_server/test_guard.py"
_GATEWAY = "flows/test_gateway.py"
_STREAMS = "flows/test_gateway_streams.py"
_AUTHORIZE = "flows/test_authorize.py"
_SESSIONS = "flows/test_gateway_sessions.py"
_STDIO = "flows/test_gateway_stdio.py"
_STDIO_SESSIONS = "flows/test_gateway_stdio_sessions.py"
_LOCAL = "flows/test_local_servers.py"
_MODERN_SPEC = "spec/mcp_2026_07_28/test_gateway_messages.py"
_LEGACY_SPEC = "spec/mcp_2025_11_25/test_gateway_messages.py"

MCP: dict[str, Requirement] = {
    "mcp.audience": shown(
        "MCP 2026-07-28 authorization",
        "A server takes only tokens that were issued for it, and checks before it acts.",
        _GUARD,
        "test_only_the_one_audience_is_taken",
        "test_a_wrong_token_comes_before_a_wrong_body",
        _GATEWAY,
        "test_a_token_that_is_not_good_here_is_refused",
        revisions=EVERY,
    ),
    "mcp.no-passthrough": shown(
        "MCP 2026-07-28 security best practices",
        "The caller's token never reaches the upstream.",
        _GATEWAY,
        "test_a_permitted_call_reaches_the_upstream_with_another_token",
        "test_an_upstream_without_credential_gets_no_token",
        revisions=EVERY,
    ),
    "mcp.upstream-token": shown(
        "MCP 2026-07-28 authorization",
        "The token that goes upstream is a separate one, addressed to the upstream.",
        "flows/test_exchange_hop.py",
        "test_a_hop_token_is_for_the_upstream_alone",
        revisions=EVERY,
    ),
    "mcp.client-audience": shown(
        "MCP 2026-07-28 authorization",
        "A client sends a token to its own resource and nowhere else.",
        "unit/client/test_auth.py",
        "test_the_token_goes_to_its_resource",
        "test_the_token_goes_nowhere_else",
        "test_a_redirect_to_another_origin_does_not_carry_the_token",
        revisions=EVERY,
    ),
    "mcp.client-resource": shown(
        "MCP 2026-07-28 authorization",
        "A client names the resource in every token request.",
        "unit/client/test_token_source.py",
        "test_a_token_is_asked_for_its_resource_and_kept",
        revisions=EVERY,
    ),
    "mcp.discovery-order": shown(
        "MCP 2026-07-28 authorization",
        "A client looks for metadata at the three places, in order.",
        "unit/client/test_discovery.py",
        "test_the_metadata_is_looked_for_at_three_places",
        revisions=EVERY,
    ),
    "mcp.body-decides": shown(
        "MCP 2026-07-28 transports",
        "What is forwarded is what was decided on, and headers agree with the body.",
        _GATEWAY,
        "test_what_is_forwarded_is_what_was_decided_on",
        _GUARD,
        "test_headers_must_agree_with_the_body",
        revisions=MODERN,
    ),
    "mcp.stream-unbuffered": shown(
        "MCP 2026-07-28 transports",
        "Events are forwarded whole, as they come.",
        _STREAMS,
        "test_events_are_forwarded_before_the_stream_ends",
        "test_an_event_in_pieces_is_forwarded_whole",
        revisions=EVERY,
    ),
    "mcp.disconnect-cancels": shown(
        "MCP 2026-07-28 transports",
        "A client that leaves its stream takes the upstream's along.",
        _STREAMS,
        "test_a_client_that_leaves_its_stream_takes_the_upstream_along",
        revisions=MODERN,
    ),
    "mcp.responses": shown(
        "MCP 2025-11-25 transports",
        "A client's response goes only to an open request of its own session.",
        _STREAMS,
        "test_a_response_goes_only_to_an_open_request_of_its_session",
        revisions=LEGACY,
    ),
    "mcp.header-mismatch": shown(
        "MCP 2026-07-28 transports",
        "A header that differs from the body is 400 with -32020.",
        _MODERN_SPEC,
        "test_a_header_that_differs_from_the_body",
        revisions=MODERN,
    ),
    "mcp.version-unsupported": shown(
        "MCP 2026-07-28 transports",
        "An unsupported version is 400 with -32022, and names what is supported.",
        _MODERN_SPEC,
        "test_an_unsupported_revision",
        revisions=MODERN,
    ),
    "mcp.method-unknown": shown(
        "MCP 2026-07-28 transports",
        "An unknown or removed method is 404 with -32601.",
        _MODERN_SPEC,
        "test_an_unknown_or_removed_method",
        revisions=MODERN,
    ),
    "mcp.metadata-required": shown(
        "MCP 2026-07-28 transports",
        "A request without its metadata is 400 with -32602.",
        _MODERN_SPEC,
        "test_missing_metadata",
        revisions=MODERN,
    ),
    "mcp.post-only": shown(
        "MCP 2026-07-28 transports",
        "GET and DELETE are 405; sessions are neither made nor forwarded.",
        _MODERN_SPEC,
        "test_get_and_delete",
        _SESSIONS,
        "test_a_modern_request_has_no_session",
        revisions=MODERN,
    ),
    "mcp.param-headers": shown(
        "MCP 2026-07-28 transports",
        "Parameter headers that the gateway does not know pass unchanged.",
        _MODERN_SPEC,
        "test_parameter_headers_pass_unchanged",
        revisions=MODERN,
    ),
    "mcp.no-batches": shown(
        "MCP 2025-11-25 transports",
        "A batch is refused.",
        _LEGACY_SPEC,
        "test_a_batch_is_refused",
        revisions=LEGACY,
    ),
    "mcp.session-no-authority": shown(
        "MCP 2025-11-25 security best practices",
        "A session is bound to its principal and authenticates nobody.",
        _SESSIONS,
        "test_a_session_of_another_principal_is_unknown",
        "test_a_session_alone_is_nothing",
        "test_a_session_that_we_did_not_seal_is_unknown",
        revisions=LEGACY,
    ),
    "mcp.resumption": shown(
        "MCP 2025-11-25 transports",
        "A stream is resumed by an event id that only its principal can use.",
        _SESSIONS,
        "test_a_stream_is_resumed_with_sealed_event_ids",
        revisions=LEGACY,
    ),
    "mcp.stdio-shared-channel": shown(
        "MCP 2026-07-28 transports",
        "On a shared channel an answer goes to the caller whose request it names, and what names none to nobody.",
        _STDIO,
        "test_two_callers_with_the_same_ids_hear_their_own_only",
        "test_what_carries_no_label_of_a_call_is_heard_by_nobody",
        "test_a_subscription_is_a_stream_of_its_own",
        revisions=MODERN,
    ),
    "mcp.stdio-cancellation": shown(
        "MCP 2026-07-28 transports",
        "A caller that goes away, or waits too long, cancels its request at the server by a notification.",
        _STDIO,
        "test_going_away_cancels_at_the_server",
        "test_a_slow_call_does_not_end_a_server_that_lives",
        "test_nobody_cancels_by_an_id",
        revisions=MODERN,
    ),
    "mcp.stdio-restart": shown(
        "MCP 2026-07-28 transports",
        "A server process that ends unexpectedly is started again.",
        _STDIO,
        "test_a_server_that_crashes_is_started_again",
        "test_a_server_that_hangs_is_ended",
        revisions=MODERN,
    ),
    "mcp.stdio-shutdown": shown(
        "MCP 2026-07-28 transports",
        "A server process is shut down by closing its input, and by signals where that does not help.",
        _STDIO,
        "test_stopping_the_gateway_leaves_no_process",
        _LOCAL,
        "test_no_process_is_left_when_serve_goes",
        revisions=EVERY,
    ),
    "mcp.stdio-probe": shown(
        "MCP 2026-07-28 transports",
        "A server is asked for a discovery first, and gets a handshake where it does not answer as a modern one.",
        _STDIO_SESSIONS,
        "test_a_server_that_cannot_be_asked_is_known_by_its_handshake",
        "test_a_server_of_both_eras_serves_both",
        _STDIO,
        "test_a_handshake_is_told_what_the_server_speaks",
        revisions=EVERY,
    ),
    "mcp.stdio-sessions": shown(
        "MCP 2025-11-25 transports",
        "A session that ended is unknown, and each message of a server goes to one stream of its session only.",
        _STDIO_SESSIONS,
        "test_a_client_ends_its_session_and_its_process",
        "test_what_belongs_to_no_call_comes_on_the_stream_of_its_session",
        "test_going_away_does_not_cancel_and_saying_so_does",
        revisions=LEGACY,
    ),
    "mcp.consent-per-client": shown(
        "MCP 2026-07-28 security best practices",
        "Consent is asked per client, and says what is asked and by whom.",
        _AUTHORIZE,
        "test_consent_is_per_client_and_scope",
        "test_the_consent_page_says_what_is_asked",
        revisions=EVERY,
    ),
    "mcp.cimd": gap(
        "MCP 2026-07-28 authorization",
        "A client may be named by the URL of its metadata document.",
        "client id metadata documents are not built",
        EVERY,
    ),
    "mcp.refresh-rotation": gap(
        "MCP 2026-07-28 authorization",
        "Refresh tokens of public clients are rotated.",
        "refresh tokens are not built",
        EVERY,
    ),
}
