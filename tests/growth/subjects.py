"""Who is looked at: the public functions of modules that perform no I/O; and why some need not be."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType

SMALL = "one value of a few fields at a time: what is long in them is passed on as it is"
HEADERS = "reads headers, which the server bounds"
OPERATOR = "reads what the operator wrote"
IDS = "digests ids, each of at most 512 characters"
NUMBERS = "reads numbers and moments"
BY_ANOTHER = "only hands on, to what stands in the table"
PLACE = "packs a place, which is digests and a number"
CALL_ID = "packs a place and the id of a call, as it is"
METRICS = "reads the gateway's own metrics, the labels of which are bounded"
EXCEPTIONS = {
    **{f"frontends.headers.{name}": HEADERS for name in ("names", "read_header", "read_id", "read_person")},
    **{f"frontends.librechat.{name}": HEADERS for name in ("decode_header", "is_placeholder")},
    "domain.places.short_digest": IDS,
    "frontends.prompts.Prompt.fits": f"{BY_ANOTHER} (find_task)",
    "frontends.prompts.worded": f"{BY_ANOTHER} (find_task)",
    **{f"frontends.reading.{name}": HEADERS for name in ("read_named", "takes_items")},
    "wires.chat_completions.read.to_message": f"{BY_ANOTHER} (to_request)",
    "pictures.addresses.is_public": "reads an address of a name server's answer",
    "letta.error_words.from_stop_reason": SMALL,
    "letta.rest.input.with_options": "reads an agent's settings, and a handful of options",
    **{f"domain.events.TokensCounted.{name}": SMALL for name in ("minus", "plus")},
    "letta.parts.in_words": SMALL,
    "letta.app_server.input.external_tools": "passes on the client's tools, each as it is",
    "letta.app_server.input.client_ids": "reads the ids of the messages that it is given",
    "letta.app_server.input.merged": "puts the results of calls after each other",
    "letta.app_server.input.to_result": SMALL,
    "letta.rest.decoder.RunReading.feed": f"{BY_ANOTHER} (EventDecoder.feed, Joiner.join)",
    "letta.app_server.input.to_payload": "passes on the messages and the names of the client's tools",
    "letta.app_server.turn_machine.TurnMachine.take_call": SMALL,
    "letta.app_server.turn_machine.TurnMachine.take_question": SMALL,
    "letta.error_words.from_status": SMALL,
    "letta.rest.answers.decode_answer": "reads what Letta answers, as msgspec does",
    "letta.rest.input.to_body": "passes on the messages (to_input), and the client's tools, each as it is",
    "letta.notes.denial": SMALL,
    "letta.notes.with_notes": "writes the gateway's own mod",
    "letta.parts.flattened": SMALL,
    "letta.parts.described": SMALL,
    "letta.parts.text_part": SMALL,
    "letta.past.says_anything": SMALL,
    **{f"letta.past.Transcript.{name}": SMALL for name in ("ask", "begin")},
    "letta.stream_messages.to_stop": SMALL,
    "letta.stream_messages.to_tokens": SMALL,
    "letta.app_server.history_format.backend_of": "reads a path that the App Server tells",
    "letta.app_server.history_format.emptied": "reads a file of the App Server's, of which it changes one field",
    "letta.app_server.history_format.folder_of": "reads ids that Letta made",
    "offline.request.ChatRequest.offers": SMALL,
    "frontends.open_webui.cards.Cards.begin": f"{BY_ANOTHER} (Cards.receive)",
    "frontends.open_webui.frames.status": SMALL,
    "frontends.open_webui.frames.tool_card": SMALL,
    "frontends.open_webui.items.Items.card": SMALL,
    "frontends.open_webui.items.Items.open": SMALL,
    "wires.limits.check_count": SMALL,
    "wires.bodies.decode_body": f"{BY_ANOTHER} (decode_request)",
    "wires.bodies.missing": SMALL,
    **{f"wires.offered_tools.{name}": f"{BY_ANOTHER} (to_client_tools)" for name in ("check_tool", "to_offered")},
    "wires.offered_tools.check_tool_count": SMALL,
    **{f"frontends.open_webui.models.{name}": OPERATOR for name in ("agent_info", "hidden_info")},
    "wires.chat_completions.encoder.Additions.frames": "a Protocol",
    "wires.chat_completions.encoder.ChatCompletionEncoder.encode": f"{BY_ANOTHER} (chunks)",
    "wires.chat_completions.encoder.ChatCompletionEncoder.fail": SMALL,
    "wires.chat_completions.encoder.ChatCompletionEncoder.whole": f"{BY_ANOTHER} (chunks, to_completion)",
    "wires.chat_completions.encoder.to_usage": SMALL,
    "wires.chat_completions.response.frame": SMALL,
    "wires.client_calls.ClientCalls.is_one": SMALL,
    **{f"wires.responses.encoder.ResponsesEncoder.{how}": f"{BY_ANOTHER} (encode)" for how in ("fail", "whole")},
    "wires.responses.encoder.to_response_usage": SMALL,
    "wires.responses.failures.to_failure": SMALL,
    **{f"wires.responses.ids.ItemIds.{name}": "a Protocol" for name in ("approval", "item")},
    **{f"wires.responses.ids.Seal.{name}": PLACE for name in ("conversation_id", "ids_of", "item_id", "response_id")},
    "wires.responses.ids.Seal.approval_id": CALL_ID,
    "wires.responses.ids.SealedIds.item": PLACE,
    "wires.responses.ids.SealedIds.approval": CALL_ID,
    "wires.responses.ids.derived_secret": OPERATOR,
    **{
        f"wires.responses.items.{name}": f"{BY_ANOTHER} (ResponsesEncoder.encode)"
        for name in (
            *("OpenItem.closing", "OpenItem.item", "OpenItem.read", "OpenMessage.closing", "OpenMessage.item"),
            *("OpenThoughts.closing", "OpenThoughts.item", "OpenCall.closing", "OpenCall.item"),
            *("OpenCustomCall.closing", "OpenCustomCall.item", "OpenCustomCall.read"),
            *("OpenOwnCall.read", "OpenMcpCall.closing", "OpenMcpCall.item"),
        )
    },
    "wires.responses.read.nested_format": SMALL,
    **{f"wires.responses.response.{name}": SMALL for name in ("event_frame", "text_frame", "type_of")},
    "wires.responses.tools.custom_names": f"{BY_ANOTHER} (to_echo)",
    "wires.responses.tools.read_choice": f"{BY_ANOTHER} (to_offered_tools)",
    "wires.responses.tools.takes": SMALL,
    "wires.responses.tools.full_name": SMALL,
    **{f"wires.responses.tools.{name}": f"{BY_ANOTHER} (to_echo)" for name in ("alone", "names_in_namespaces")},
    **{f"http.answers.compressor.Compressor.{how}": "a Protocol" for how in ("compress", "end")},
    "http.answers.compressor.encoding_headers": SMALL,
    **{f"wires.encoder.Encoder.{how}": "a Protocol" for how in ("encode", "fail", "whole")},
    "mistakes.mistakes": OPERATOR,
    **{f"commands.top_picture.{name}": METRICS for name in ("Reading.by", "Reading.since", "Reading.value", "picture")},
    **{f"commands.top_picture.{name}": METRICS for name in ("quantile", "to_reading")},
    "http.seen.chats.to_chats": "sorts the answers under way, which the settings bound",
    "workers.sums.joined_chats": "sorts a few chats of each worker",
    **{f"workers.begin.{name}": OPERATOR for name in ("from_json_settings", "share_of", "to_json_settings")},
    "trace_context.read_traceparent": HEADERS,
    "trace_context.trace_of": SMALL,
    "settings.keys.Key.may_use": OPERATOR,
    "settings.keys.Key.person_of": OPERATOR,
    "settings.tree.Settings.former_scope": OPERATOR,
    "settings.tree.Settings.types_for": OPERATOR,
    "settings.values.digest_of": HEADERS,
    "settings.values.is_loopback": OPERATOR,
    **{
        f"turns.runs.account.Account.{name}": SMALL
        for name in ("called", "count", "returned", "when_closed", "when_counted")
    },
    **{f"turns.runs.course.Course.{name}": SMALL for name in ("fail", "is_not_begun", "retry")},
    "turns.runs.course.Filter.take": f"{BY_ANOTHER} (StrictCalls.take, AnswerGate.take)",
    "turns.runs.requirements.Requirement.is_met_by": SMALL,
    "turns.runs.requirements.AnswerGate.open_if_met": f"{BY_ANOTHER} (JsonFormat.find)",
    "turns.runs.requirements.to_requirement": SMALL,
    **{
        f"limits.{name}": NUMBERS
        for name in (
            "counters.Counters.enter",
            "counters.Counters.leave",
            "counters.Counters.spend",
            "counters.Counters.spent",
            "counters.Counters.sums",
            "counters.Counters.take",
            "counters.Counters.under_way",
            "counters.Spent.minus",
            "counters.Spent.plus",
            "periods.at",
            "periods.begin_of_day",
            "periods.begin_of_month",
            "periods.day_of",
            "periods.in_openai_form",
            "periods.month_of",
            "periods.next_day",
            "periods.next_month",
            "periods.oldest_kept",
            "periods.whole_seconds",
            "rates.rate_of",
            "rates.take",
        )
    },
    "turns.people.identity.identify": HEADERS,
    "turns.people.identity.keeps_history": SMALL,
    "turns.people.identity.message_ids": HEADERS,
    **{
        f"turns.chats.markers.{name}": "digests ids, each of at most 512 characters"
        for name in (
            *("agent_name", "agent_tags", "conversation_marker", "given_marker", "id_digest", "thread_marker"),
            "user_digest",
        )
    },
    "turns.chats.exact.begins": f"{BY_ANOTHER} (parse_client_id)",
    "turns.runs.resend.name_of_response": SMALL,
    "turns.runs.resend.response_of": SMALL,
    **{f"http.responses.rebuilt.{name}": f"{BY_ANOTHER} (ResponsesEncoder.encode)" for name in ("lost", "rebuilt")},
    **{
        f"turns.exchanged.{name}": "reads the exchanges of a conversation, each once"
        for name in ("is_gone", "place_among", "turns_in")
    },
    **{
        f"turns.places.{name}": SMALL
        for name in (
            *("answering", "is_for", "is_of_its_user", "is_open_to"),
            *("marker_at", "marker_given", "part_of", "place_of", "placed"),
        )
    },
    "turns.chats.exact.waits_for": f"{BY_ANOTHER} (decide_after)",
    **{f"turns.chats.exact.{name}": f"{BY_ANOTHER} (decide_after)" for name in ("is_behind", "without")},
    **{f"turns.chats.markers.{name}": SMALL for name in ("gone_at", "read_gone")},
    **{f"turns.chats.markers.{name}": f"{BY_ANOTHER} (parse_client_id)" for name in ("turn_id", "turn_told")},
    "turns.chats.markers.parse_agent": "reads the tags and the name that Letta lists of an agent",
    "turns.chats.markers.pictures_of": f"{BY_ANOTHER} (parse_client_id), and digests digests",
    **{f"frontends.header_text.{name}": HEADERS for name in ("as_text", "former")},
    "tasks.answers.to_empty_answer": f"{BY_ANOTHER} (to_answer)",
    "turns.people.template.applied": "reads what the gateway itself wrote on an agent",
    "turns.people.template.fill": OPERATOR,
    "turns.people.template.is_applied": "reads what the gateway itself wrote on an agent",
    "turns.people.template.to_template": OPERATOR,
    "turns.turn.Turn.former_markers": f"{BY_ANOTHER} (scratch_marker)",
    "turns.turn.Turn.marker_after": f"{BY_ANOTHER} (scratch_marker)",
    "turns.turn.forwards_tools": OPERATOR,
    "turns.turn.to_turn": SMALL,
    "wires.envelope.to_json": SMALL,
    "wires.envelope.to_response": SMALL,
}


def subjects(modules: list[ModuleType]) -> Iterator[str]:
    """The public functions and methods of modules that perform no I/O, as far as they are given anything."""
    for module in modules:
        if "no i/o" in (module.__doc__ or "").lower():
            where = module.__name__.removeprefix("gateway.")
            yield from (f"{where}.{name}" for name, function in _functions(module) if _takes(function))


def _functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., object]]]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            yield from ((f"{name}.{key}", one) for key, one in vars(value).items() if _is_method(key, one))


def _is_method(name: str, value: object) -> bool:
    return inspect.isfunction(value) and not name.startswith("_")


def _takes(function: Callable[..., object]) -> bool:
    return any(name != "self" for name in inspect.signature(function).parameters)
