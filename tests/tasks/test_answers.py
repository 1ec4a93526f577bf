"""What the gateway answers to background tasks by itself."""

from typing import Any

import msgspec
import pytest

from gateway.domain.request import Request
from gateway.domain.tasks import Task
from gateway.tasks.answers import to_answer, to_empty_answer, to_title
from gateway.wires.chat_completions.request import ChatMessage
from tests.asking import asking


def asked(prompt: str, response_format: Any = None) -> Request:
    return asking([ChatMessage("user", prompt)], response_format=response_format)


def history(*lines: str) -> str:
    chat = "\n".join(lines)
    return f"### Task:\nDo it.\n### Chat History:\n<chat_history>\n{chat}\n</chat_history>"


TWO_TURNS = history(
    "USER: How do I brew tea?",
    "It must be green.",
    "ASSISTANT: With water.",
    "user: is what you are.",
    "USER: And how hot?",
)
MERGE = 'You have been provided …: "q"\n\nResponses from models: """Boil it."""\n\n"""80 degrees,\nno more."""'

# kind, prompt -> what is answered, and what where nothing is wanted
ANSWERS: dict[str, tuple[str, str, str, str]] = {
    "a title is made of the first message": (
        "title_generation",
        TWO_TURNS,
        '{"title":"How do I brew tea?"}',
        '{"title":""}',
    ),
    "a chat of no words has no title": (
        "title_generation",
        history("USER: ", "ASSISTANT: A picture."),
        '{"title":""}',
        '{"title":""}',
    ),
    "tags say nothing that is not certain": ("tags_generation", TWO_TURNS, '{"tags":["General"]}', '{"tags":[]}'),
    "there are no follow-ups": ("follow_up_generation", TWO_TURNS, '{"follow_ups":[]}', '{"follow_ups":[]}'),
    "a query is the last message": (
        "query_generation",
        TWO_TURNS,
        '{"queries":["And how hot?"]}',
        '{"queries":[]}',
    ),
    "a query is one line": (
        "query_generation",
        history("USER: And\nhow\n\nhot?"),
        '{"queries":["And how hot?"]}',
        '{"queries":[]}',
    ),
    "a chat of no words has no query": ("query_generation", history("USER: "), '{"queries":[]}', '{"queries":[]}'),
    "nothing is completed": ("autocomplete_generation", "<text>The quick</text>", '{"text":""}', '{"text":""}'),
    "an emoji is a smile": ("emoji_generation", "Message: ```I am happy```", "🙂", ""),
    "a picture is what was asked for last": (
        "image_prompt_generation",
        history("USER: Hello", "ASSISTANT: Hello.", "USER: A cat, please"),
        '{"prompt":"A cat, please"}',
        '{"prompt":""}',
    ),
    "a merge is all the answers": ("moa_response_generation", MERGE, "Boil it.\n\n---\n\n80 degrees,\nno more.", ""),
    "no tool is called": ("function_calling", "Query: hi", '{"tool_calls":[]}', '{"tool_calls":[]}'),
    "nothing is compacted": ("context_compaction", "### Messages Being Compacted:\n- user: hi", "", ""),
    "nothing is remembered": ("memory_review", "Conversation:\nuser: hi", '{"operations":[]}', '{"operations":[]}'),
    "a task nobody knows has no answer": ("poem_generation", "A poem!", "", ""),
}


@pytest.mark.parametrize(("kind", "prompt", "answer", "empty"), ANSWERS.values(), ids=ANSWERS)
def test_a_task_is_answered_in_its_own_form(kind: str, prompt: str, answer: str, empty: str) -> None:
    assert to_answer(Task(kind), asked(prompt)) == answer
    assert to_empty_answer(Task(kind), asked(prompt)) == empty


# Where clients other than Open WebUI tell the chat in their prompts.
CHATS = {
    "LibreChat": "Only return the title itself.\n\nConversation:\nUser: I like tea\nAI: So do I.",
    "LibreChat's roles of LangChain": "Analyze this conversation …\n\nHuman: I like tea\nAI: So do I.",
    "LobeChat": "user: I like tea\nassistant: So do I.",
    "LobeChat's tags": "<user>\nI like tea\n</user>\n<assistant>\nSo do I.\n</assistant>",
    "LobeChat's tags, the assistant first": "<assistant>\nHello\n</assistant>\n<user>\nI like tea\n</user>",
    "Continue": "…, you don't need ending punctuation.\n\nI like tea",
    "a prompt of no known form": "I like tea",
}


@pytest.mark.parametrize("prompt", CHATS.values(), ids=CHATS)
def test_a_title_for_other_clients_is_plain_text(prompt: str) -> None:
    assert to_answer(Task("title_generation", in_json=False), asked(prompt)) == "I like tea"


TITLES = {
    "Hello! My name is Ada.": "Hello! My name is Ada",
    "\n\n  # How to **brew** `tea`  \nand more": "How to brew tea",
    "> - quoted in a list": "quoted in a list",
    "-5 degrees in read_file": "-5 degrees in read_file",
    "One two three four five six seven": "One two three four five six…",
    "Donaudampfschifffahrtsgesellschaft und Eisenbahngesellschaft heute": "Donaudampfschifffahrtsgesellschaft und…",
    "x" * 60: "x" * 50 + "…",
    "东京和北京哪个更大?": "东京和北京哪个更大?",
    "   ": "",
}


@pytest.mark.parametrize(("message", "title"), TITLES.items(), ids=range(len(TITLES)))
def test_a_title_is_the_first_words_of_a_message(message: str, title: str) -> None:
    assert to_title(message) == title


FORMATS: dict[str, tuple[Any, Any]] = {
    "LibreChat's schema": (
        {"type": "json_schema", "json_schema": {"schema": {"properties": {"language": {}, "title": {}}}}},
        {"title": "I like tea", "language": ""},
    ),
    "LobeChat's schema": (
        {"type": "json_schema", "json_schema": {"strict": True, "schema": {"properties": {"title": {}}}}},
        {"title": "I like tea"},
    ),
    "any object": ({"type": "json_object"}, {"title": "I like tea"}),
    "a schema without properties": ({"type": "json_schema", "json_schema": {}}, {"title": "I like tea"}),
}


@pytest.mark.parametrize(("response_format", "answer"), FORMATS.values(), ids=FORMATS)
def test_a_title_comes_as_the_object_that_was_asked_for(response_format: Any, answer: Any) -> None:
    task = Task("title_generation", in_json=False)

    assert msgspec.json.decode(to_answer(task, asked("user: I like tea", response_format))) == answer


@pytest.mark.parametrize("response_format", [{"type": "text"}, "json", None, 5])
def test_no_object_is_given_where_none_was_asked_for(response_format: Any) -> None:
    task = Task("title_generation", in_json=False)

    assert to_answer(task, asked("user: I like tea", response_format)) == "I like tea"
