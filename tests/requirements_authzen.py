"""What AuthZEN and its binding to MCP ask of Perhop as a policy decision point; see tests/requirements.py."""

from __future__ import annotations

from tests.support.requirement import Requirement, gap, shown

_EVALUATION = "spec/authzen_1_0/test_evaluation.py"
_SEARCH = "spec/authzen_1_0/test_search.py"
_METADATA = "spec/authzen_1_0/test_metadata.py"
_FLOWS = "flows/test_access.py"
_BINDING = "unit/rules/test_coaz_mcp.py"

AUTHZEN: dict[str, Requirement] = {
    "authzen.evaluation": shown(
        "AuthZEN 1.0 §6",
        "A question is answered with a decision, yes or no, both with 200.",
        _EVALUATION,
        "test_a_decision_is_a_boolean_with_an_optional_context",
        "test_the_same_question_has_the_same_answer",
        "flows/test_access_served.py",
        "test_gateway_and_answers_agree",
    ),
    "authzen.evaluations": shown(
        "AuthZEN 1.0 §7.2",
        "Several questions are answered in their order; without a list it is one question.",
        _EVALUATION,
        "test_a_list_is_answered_in_its_order",
        "test_without_a_list_it_is_one_question",
    ),
    "authzen.defaults": shown(
        "AuthZEN 1.0 §7.1.1",
        "The top level stands in, member by member, for what a question of a list lacks.",
        _EVALUATION,
        "test_the_top_level_stands_in_for_what_a_question_lacks",
    ),
    "authzen.semantics": shown(
        "AuthZEN 1.0 §7.1.2.1",
        "A list is answered whole, up to the first no, or up to the first yes.",
        _EVALUATION,
        "test_a_semantic_ends_the_list",
    ),
    "authzen.item-errors": shown(
        "AuthZEN 1.0 §7.2.1",
        "A question of a list that is wrong is a no; a list that is wrong as a whole is an error.",
        _EVALUATION,
        "test_what_cannot_be_read_counts_as_a_denial",
        "test_a_list_that_is_wrong_as_a_whole_is_a_bad_request",
    ),
    "authzen.search": shown(
        "AuthZEN 1.0 §8.1",
        "What a search finds would be answered with yes; nothing found is an empty list.",
        _SEARCH,
        "test_what_is_found_would_be_permitted",
        "test_nothing_found_is_an_empty_list",
        "test_the_name_of_what_is_sought_is_not_looked_at",
    ),
    "authzen.pages": shown(
        "AuthZEN 1.0 §8.2",
        "Pages follow one another by an opaque token that is good for its own search alone.",
        _SEARCH,
        "test_pages_together_are_the_whole",
        "test_a_token_is_good_for_its_own_search",
    ),
    "authzen.search-people": gap(
        "AuthZEN 1.0 §8.4",
        "A search for subjects finds every subject of the type.",
        "people are not searched for: there is no directory of them here, and a server is told of none",
    ),
    "authzen.metadata": shown(
        "AuthZEN 1.0 §9.2",
        "Metadata lies at the path form, repeats the decision point, and names endpoints that answer.",
        _METADATA,
        "test_the_document_names_the_decision_point_and_its_endpoints",
        "test_a_decision_point_with_a_path_has_its_document_before_the_path",
    ),
    "authzen.signed-metadata": gap(
        "AuthZEN 1.0 §9.1.3",
        "Metadata may be signed.",
        "the metadata is not signed",
    ),
    "authzen.json": shown(
        "AuthZEN 1.0 §10.1.1",
        "A required member that is missing is 400; one that is unknown is ignored.",
        _EVALUATION,
        "test_a_required_member_that_is_missing_is_a_bad_request",
        "test_a_member_of_the_wrong_type_is_a_bad_request",
        "test_unknown_members_are_ignored",
        "test_what_is_not_a_json_object_is_a_bad_request",
    ),
    "authzen.request-id": shown(
        "AuthZEN 1.0 §10.1.3",
        "The identifier of a request comes back with its answer, whatever that is.",
        _EVALUATION,
        "test_a_request_id_comes_back_with_every_answer",
    ),
    "authzen.client": shown(
        "AuthZEN 1.0 §11.2",
        "Who asks must authenticate, and is told of its own resources only.",
        _EVALUATION,
        "test_a_failed_authentication_is_401_with_a_challenge",
        _FLOWS,
        "test_nothing_else_proves_a_client",
        "test_of_a_resource_of_others_nothing_is_told",
    ),
    "authzen.bounds": shown(
        "AuthZEN 1.0 §11.7",
        "Size, depth and number are bounded, and no request breaks the decision point.",
        _EVALUATION,
        "test_a_hundred_questions_are_one_request",
        "test_a_body_beyond_the_bound_is_not_read",
        "test_a_body_too_deep_is_a_bad_request",
        "flows/test_access_malformed.py",
        "test_no_request_breaks_it",
    ),
    "coaz.methods": shown(
        "COAZ-MCP draft-1 §7",
        "Every method of MCP can be asked about, and means what the gateway takes it for; an unknown one is denied.",
        _BINDING,
        "test_every_method_has_a_row",
        "test_a_method_touches_what_the_gateway_says",
        "test_a_thing_is_asked_about_by_its_own_actions_only",
    ),
    "coaz.subject": shown(
        "COAZ-MCP draft-1 §3.1",
        "The subject is the token's `sub`, the agent is in the context; what contradicts itself is denied.",
        _FLOWS,
        "test_the_principal_is_the_agent_and_the_subject_may_be_a_person",
        "test_a_caller_that_contradicts_itself_is_nobody",
    ),
    "coaz.declared": gap(
        "COAZ-MCP draft-1 §8",
        "A tool may declare its own mapping in CEL, which whoever enforces evaluates.",
        "the gateway asks its own engine, not a decision point, and evaluates no declared mapping",
    ),
}
