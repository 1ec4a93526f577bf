"""The offline model as whoever calls it meets it: the openai SDK, plain HTTP, and any messages at all."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.offline import INTRODUCTION, THOUGHT, create_offline_model
from tests.servers.threads import served

Body = dict[str, Any]
MEMORY = [{"type": "function", "function": {"name": "memory_insert", "parameters": {"type": "object"}}}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
REMINDER = "<system-reminder>The cwd is /tmp. Her mail is eve@example.org.</system-reminder>"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_offline_model()) as base_url:
        yield f"{base_url}/v1"


@pytest.fixture(scope="module")
def plain(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as http:
        yield http


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30) as openai_client:
        yield openai_client


def user(content: Any) -> Body:
    return {"role": "user", "content": content}


def tool_result(content: Any, call: str = "call_1") -> Body:
    return {"role": "tool", "content": content, "tool_call_id": call}


def called(*names: str) -> Body:
    functions = [{"name": name, "arguments": "{}"} for name in names]
    calls = [{"id": f"call_{i}", "type": "function", "function": function} for i, function in enumerate(functions, 1)]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def ask(client: OpenAI, *messages: Any, **more: Any) -> ChatCompletion:
    """A whole answer; a text stands for a user message."""
    asked: Any = [user(message) if isinstance(message, str) else message for message in messages]
    completion: ChatCompletion = client.chat.completions.create(model="offline", messages=asked, **more)
    return completion


def answer(client: OpenAI, *messages: Any, **more: Any) -> str:
    return ask(client, *messages, **more).choices[0].message.content or ""


def calls(completion: ChatCompletion) -> list[tuple[str, Any]]:
    tool_calls: Any = completion.choices[0].message.tool_calls or []
    return [(call.function.name, json.loads(call.function.arguments)) for call in tool_calls]


def stream(client: OpenAI, text: str, **more: Any) -> list[Any]:
    messages: Any = [user(text)]
    return list(client.chat.completions.create(model="offline", messages=messages, stream=True, **more))


ANSWERS: dict[str, tuple[list[Any], str]] = {
    "the first answer says who speaks": (["hello"], f"{INTRODUCTION}You said: hello"),
    "the next does not": (["hello", {"role": "assistant", "content": "Hi"}, "again"], "You said: again"),
    "parts are joined": ([user([{"type": "text", "text": t} for t in "ab"])], f"{INTRODUCTION}You said: a\nb"),
    "a picture is counted": (
        [user([IMAGE, {"type": "text", "text": "see"}])],
        f"{INTRODUCTION}You said: see (You showed 1 picture, which I cannot see.)",
    ),
    "pictures alone": (
        [user([IMAGE, IMAGE])],
        f"{INTRODUCTION}You said:  (You showed 2 pictures, which I cannot see.)",
    ),
    "a picture behind a reminder": (
        [user([{"type": "text", "text": REMINDER}, IMAGE])],
        f"{INTRODUCTION}You said:  (You showed 1 picture, which I cannot see.)",
    ),
    "a picture shown before": (
        [user([IMAGE]), {"role": "assistant", "content": "Hi"}, "again"],
        "You said: again",
    ),
    "a picture with a script": ([user([IMAGE, {"type": "text", "text": "!say Nice"}])], "Nice"),
    "nobody has spoken": ([{"role": "system", "content": "Be kind."}], f"{INTRODUCTION}You said: "),
    "a reminder before the text": (
        [user([{"type": "text", "text": t} for t in (REMINDER, REMINDER, "hello")])],
        f"{INTRODUCTION}You said: hello",
    ),
    "a reminder within the text": ([f"{REMINDER}\n{REMINDER}\nhello"], f"{INTRODUCTION}You said: hello"),
    "a reminder behind the text is the person's": ([f"hello {REMINDER}"], f"{INTRODUCTION}You said: hello {REMINDER}"),
    "a reminder alone, unclosed": (["hello", "<system-reminder>Stopped."], f"{INTRODUCTION}You said: hello"),
    "say": (["!say One\tword"], "One\tword"),
    "an unknown command": (["!dance"], f"{INTRODUCTION}You said: !dance"),
    "the name is in the prompt": (
        [{"role": "system", "content": "human: Her name is Ada"}, "So what is my name"],
        "Your name is Ada.",
    ),
    "the last name counts": (
        ["My name is Ada", "No, I am called Jean-Luc!", "WHAT IS MY NAME?"],
        "Your name is Jean-Luc.",
    ),
    "an unknown name": (["What's my name?"], "I do not know your name."),
    "a name asked for in passing": (["What is my name? Guess!"], f"{INTRODUCTION}You said: What is my name? Guess!"),
    "the last step's results, in order": (
        ["!tool a {}", called("a"), tool_result("old"), called("b", "c"), tool_result("1"), tool_result("2", "call_2")],
        "Tool said: 1\n2",
    ),
    "a reminder behind the result": (["!tool a {}", called("a"), tool_result("1"), REMINDER], "Tool said: 1"),
    "a result in parts": (["hello", called("a"), tool_result([{"type": "text", "text": "1"}])], "Tool said: 1"),
}


@pytest.mark.parametrize(("messages", "said"), ANSWERS.values(), ids=ANSWERS)
def test_it_answers(client: OpenAI, messages: list[Any], said: str) -> None:
    completion = ask(client, *messages)

    assert (said, "stop") == (completion.choices[0].message.content, completion.choices[0].finish_reason)


FACTS = {
    "My name is Ada": "Their name is Ada.",
    "Hello, my name's Ada and I like tea.": "Their name is Ada.",
    "I’m called Åsa-Li!": "Their name is Åsa-Li.",
    "Remember that my name is Ada": "Their name is Ada.",
    "Remember that I like tea.": "I like tea.",
    "Please remember: tea at four": "tea at four",
    "!think Oh.\nRemember: tea": "tea",
}


@pytest.mark.parametrize(("text", "fact"), FACTS.items())
def test_it_remembers_with_the_tool_for_that(client: OpenAI, text: str, fact: str) -> None:
    completion = ask(client, text, tools=MEMORY)

    assert completion.choices[0].finish_reason == "tool_calls"
    assert calls(completion) == [("memory_insert", {"label": "human", "new_string": fact})]


NOT_FACTS = [
    "Do you remember that I like tea?",
    "Is my name known?",
    "My name is Ada. What is my name?",
    "!say x\nRemember: y",
]


@pytest.mark.parametrize("text", NOT_FACTS)
def test_it_remembers_nothing_from(client: OpenAI, text: str) -> None:
    assert calls(ask(client, text, tools=MEMORY)) == []


def test_it_says_that_it_has_no_memory_where_none_is_offered(client: OpenAI) -> None:
    other: Any = [{"type": "function", "function": {"name": "search", "parameters": {}}}]

    assert "in this chat only" in answer(client, "My name is Ada", tools=other)
    assert "in this chat only" in answer(client, "My name is Ada")


REMEMBERED = {
    "done": ("Inserted.", "I will remember that."),
    "the whole block, with a failure among the facts": (
        '{\n  "status": "OK",\n  "message": "I failed the exam.\\nTheir name is Ada."\n}',
        "I will remember that.",
    ),
    "a failure further down": ("What I know:\nI failed the exam.", "I will remember that."),
    "an error": ("Error: no such block", "I could not remember that. Tool said: Error: no such block"),
    "a refusal of the gateway's": (
        "You have no such memory block.",
        "I could not remember that. Tool said: You have no such memory block.",
    ),
    "a status, as a V1 server has it": (
        '{\n  "status": "Failed",\n  "message": "no block"\n}',
        'I could not remember that. Tool said: {\n  "status": "Failed",\n  "message": "no block"\n}',
    ),
}


@pytest.mark.parametrize(("result", "said"), REMEMBERED.values(), ids=REMEMBERED)
def test_it_says_whether_it_will_remember(client: OpenAI, result: str, said: str) -> None:
    assert said == answer(client, "My name is Ada", called("memory_insert"), tool_result(result), tools=MEMORY)


def test_a_fact_that_speaks_of_failure_is_no_failure(client: OpenAI) -> None:
    told = ["Remember that I failed", called("memory_insert"), tool_result("Remembered: I failed")]

    assert answer(client, *told, tools=MEMORY) == "I will remember that."


def test_a_scripted_memory_is_answered_as_any_tool(client: OpenAI) -> None:
    script = '!tool memory_insert {"label": "human", "new_string": "My name is Ada"}'

    assert answer(client, script, called("memory_insert"), tool_result("ok"), tools=MEMORY) == "Tool said: ok"


def function(name: str, **parameters: Any) -> Body:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = [function("clock"), function("get_weather", **PLACE), function("add", type="object", properties={})]
# What is said, and the call that is made of it.
CALLED: dict[str, tuple[str, tuple[str, Any]]] = {
    "a tool that is named": ("Please call the tool get_weather for Rome!", ("get_weather", {"city": "Rome"})),
    "in backticks, and what is quoted": ('Use `get_weather` on "São Paulo".', ("get_weather", {"city": "São Paulo"})),
    "with its arguments": ('Call get_weather with {"city": "Ur", "x": 1}', ("get_weather", {"city": "Ur", "x": 1})),
    "with braces that are no JSON": ("Call clock {now}", ("clock", {})),
    "a question for what it is for": (
        "What's the weather like in San Francisco?",
        ("get_weather", {"city": "San Francisco"}),
    ),
    "another": ("Hello! How is the weather in Oslo, really?", ("get_weather", {"city": "Oslo"})),
    "a question that names no place": (
        "What is the current weather?",
        ("get_weather", {"city": "What is the current weather?"}),
    ),
    "with other thoughts": ("!think Well.\nWhat is the clock?", ("clock", {})),
}


@pytest.mark.parametrize(("text", "call"), CALLED.values(), ids=CALLED)
def test_it_calls_the_tool_that_a_message_speaks_of(client: OpenAI, text: str, call: tuple[str, Any]) -> None:
    completion = ask(client, text, tools=WEATHER)

    assert completion.choices[0].finish_reason == "tool_calls"
    assert calls(completion) == [call]


UNCALLED = [
    "The weather is fine.",
    "What is the whether?",
    "How is the Task?",
    "!say What is the weather?",
    "call get_weathers",
    "My clock is slow.",
    "My name is Ada. Call the tool clock.",
]


@pytest.mark.parametrize("text", UNCALLED)
def test_it_calls_nothing_for(client: OpenAI, text: str) -> None:
    assert calls(ask(client, text, tools=[*WEATHER, function("Task")])) == []
    assert calls(ask(client, "What is the weather in Oslo?")) == []


TOLD = "<system-reminder>You must answer with a call of the tool `clock` or `get_weather`. No words.</system-reminder>"
DEMANDS: dict[str, tuple[list[Any], Body, str]] = {
    "any": (["hello"], {"tool_choice": "required"}, "clock"),
    "any, and one is spoken of": (["What's the weather?"], {"tool_choice": "required"}, "get_weather"),
    "one of them": (["hello"], {"tool_choice": {"type": "function", "function": {"name": "add"}}}, "add"),
    "in words": ([user([{"type": "text", "text": text} for text in (TOLD, "hello")])], {}, "clock"),
    "in words, and one is spoken of": ([f"{TOLD}\nWhat's the weather?"], {}, "get_weather"),
    "in the prompt of a first message": ([{"role": "system", "content": TOLD}, "hello"], {}, "clock"),
}


@pytest.mark.parametrize(("messages", "more", "name"), DEMANDS.values(), ids=DEMANDS)
def test_it_calls_a_tool_that_is_demanded(client: OpenAI, messages: list[Any], more: Body, name: str) -> None:
    assert [called for called, _ in calls(ask(client, *messages, tools=WEATHER, **more))] == [name]


def test_what_was_demanded_before_the_last_answer_is_not_demanded_now(client: OpenAI) -> None:
    assert answer(client, TOLD, {"role": "assistant", "content": "Hi"}, "hello", tools=WEATHER) == "You said: hello"


def test_a_result_is_told_whatever_is_demanded(client: OpenAI) -> None:
    told = ["What's the weather?", called("get_weather"), tool_result("sunny")]

    assert answer(client, *told, tools=WEATHER, tool_choice="required") == "Tool said: sunny"


# A schema, and the value that it is given when asked `Use it for "tea" at 17.5 or 18, please.`
VALUES: dict[str, tuple[Body, Any]] = {
    "a string": ({"type": "string"}, "tea"),
    "nothing said": ({}, "tea"),
    "an integer": ({"type": "integer"}, 17),
    "a number": ({"type": "number"}, 17.5),
    "yes": ({"type": "boolean"}, True),
    "null": ({"type": "null"}, None),
    "a constant": ({"const": 3}, 3),
    "one of several": ({"enum": ["coffee", "Tea"]}, "Tea"),
    "one of several others": ({"enum": ["coffee", "milk"]}, "coffee"),
    "a list": ({"type": "array", "items": {"type": "integer"}}, [17]),
    "a list of anything": ({"type": "array"}, ["tea"]),
    "several types": ({"type": ["null", "integer"]}, 17),
    "several schemas": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 17),
    "an object in an object": ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "tea"}),
    "an object without a type": ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "tea"}),
    "a schema elsewhere": ({"$ref": "#/$defs/Time"}, {"hour": 17}),
    "a schema that is nowhere": ({"$ref": "#/$defs/Place"}, "tea"),
}
TIME = {"type": "object", "properties": {"hour": {"type": "integer"}}}


@pytest.mark.parametrize(("schema", "value"), VALUES.values(), ids=VALUES)
def test_arguments_are_as_their_schema_says(client: OpenAI, schema: Body, value: Any) -> None:
    tool = function("it", type="object", properties={"x": schema}, **{"$defs": {"Time": TIME}})
    completion = ask(client, 'Use it for "tea" at 17.5 or 18, please.', tools=[tool])

    assert calls(completion) == [("it", {"x": value})]


def test_a_schema_without_end_is_followed_only_so_far(client: OpenAI) -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}

    assert [name for name, _ in calls(ask(client, "Call tree", tools=[function("tree", **tree)]))] == ["tree"]


SCRIPTS = {
    "words": "hello  there,\nyou",
    "other thoughts": "!think Hm, well. \n!say Yes.",
    "one tool": '!tool search {"query": "a rather long one"}',
    "a tool without arguments": "!tool now",
    "parallel tools": '!tool a {"x": 1}\n!tool b {}\n!tool a {"x": 2}',
    "tools with one id": '!same-id\n!tool a {"x": 1}\n!tool a {"x": 2}',
    "memory": "My name is Ada",
    "a tool that is spoken of": "Call memory_insert!",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_stream_and_whole_say_the_same(client: OpenAI, text: str) -> None:
    message: Any = ask(client, text, tools=MEMORY).choices[0].message
    with client.chat.completions.stream(model="offline", messages=[user(text)], tools=MEMORY) as events:  # type: ignore[arg-type, list-item]
        for _ in events:
            pass
        streamed: Any = events.get_final_completion().choices[0].message
    chunks = stream(client, text, tools=MEMORY)

    thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks]
    assert message.reasoning_content == "".join(thoughts)
    assert (message.content or "") == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert _plain(message.tool_calls) == _plain(streamed.tool_calls)


def test_calls_of_one_tool_may_have_one_id(client: OpenAI) -> None:
    message: Any = ask(client, SCRIPTS["tools with one id"], tools=MEMORY).choices[0].message

    assert [call.id for call in message.tool_calls] == [message.tool_calls[0].id] * 2


def _plain(tool_calls: Any) -> list[tuple[str, str, str]]:
    return [(call.id, call.function.name, call.function.arguments) for call in tool_calls or ()]


def test_thoughts_come_first_and_in_pieces(client: OpenAI) -> None:
    deltas = [chunk.choices[0].delta.model_dump(exclude_none=True) for chunk in stream(client, "!say a b")]
    pieces = [value for delta in deltas[1:] for value in delta.values()]

    assert deltas[0] == {"role": "assistant", "content": ""}
    assert pieces == ["Let ", "me ", "think ", "about ", "it. ", "a ", "b"]
    assert "".join(pieces[:5]) == THOUGHT


def test_arguments_come_in_pieces_by_the_index_of_their_call(client: OpenAI) -> None:
    chunks = stream(client, '!tool a {"x": "12345"}\n!tool b {}')
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]

    assert [(call.index, call.function.name, call.function.arguments) for call in pieces] == [
        (0, "a", ""),
        (0, None, '{"x": "1'),
        (0, None, '2345"}'),
        (1, "b", ""),
        (1, None, "{}"),
    ]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_no_two_calls_of_a_conversation_have_the_same_id(client: OpenAI) -> None:
    script = user("!tool a {}\n!tool a {}")
    messages: list[Any] = [script]
    ids: list[str] = []
    for _ in range(3):
        message = ask(client, *messages).choices[0].message
        assert message.tool_calls
        ids += [call.id for call in message.tool_calls]
        results = [tool_result("ok", call.id) for call in message.tool_calls]
        messages += [message.model_dump(exclude_none=True), *results, {"role": "assistant", "content": "ok"}, script]

    assert len(set(ids)) == 6


def test_usage_is_counted_in_words_and_told_in_a_stream_only_on_request(client: OpenAI) -> None:
    whole = ask(client, {"role": "system", "content": "Be kind."}, "!say one two").usage
    assert whole
    assert whole.prompt_tokens_details
    assert whole.completion_tokens_details
    assert (whole.prompt_tokens, whole.completion_tokens, whole.total_tokens) == (5, 7, 12)
    assert (whole.prompt_tokens_details.cached_tokens, whole.completion_tokens_details.reasoning_tokens) == (2, 5)

    assert all(chunk.usage is None for chunk in stream(client, "!say one two"))
    *_, last = stream(client, "!say one two", stream_options={"include_usage": True})
    assert (last.choices, last.usage.total_tokens) == ([], 10)


FAILURES = {
    "!fail 400": "invalid_request_error",
    "!fail 401": "authentication_error",
    "!fail 404": "invalid_request_error",
    "!fail 429": "rate_limit_error",
    "!fail 500": "server_error",
    "hello\n!fail 503": "server_error",
}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("text", "kind"), FAILURES.items())
def test_it_fails_as_openai_does(client: OpenAI, text: str, kind: str, streamed: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, text, stream=streamed)

    assert (int(text[-3:]), kind) == (caught.value.status_code, caught.value.type)
    assert caught.value.body == {"message": "the script says so", "type": kind, "param": None, "code": None}


def test_a_cut_is_an_error_within_the_stream_or_in_place_of_the_whole(client: OpenAI, plain: httpx.Client) -> None:
    body = {"messages": [user("!cut-after one two")], "stream": True}
    *_, said, error = [json.loads(line[6:]) for line in plain.post("/chat/completions", json=body).iter_lines() if line]
    assert said["choices"][0]["delta"] == {"content": "two"}
    assert error["error"]["type"] == "server_error"

    with pytest.raises(openai.APIError, match="the script says so") as caught:
        stream(client, "!cut-after one two")
    assert not isinstance(caught.value, openai.APIStatusError)
    with pytest.raises(openai.InternalServerError, match="the script says so"):
        ask(client, "!cut-after one two")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("text", ["!hang", "!hang-after one two"])
def test_it_hangs_until_the_other_side_leaves(plain: httpx.Client, client: OpenAI, text: str, streamed: bool) -> None:
    seen: list[bytes] = []
    with pytest.raises(httpx.ReadTimeout):
        _read(plain, {"messages": [user(text)], "stream": streamed}, seen)

    assert (b'"two"' in b"".join(seen)) == (streamed and "after" in text)
    assert b"DONE" not in b"".join(seen)
    assert answer(client, "!say go on") == "go on"


def _read(plain: httpx.Client, body: Body, seen: list[bytes]) -> None:
    """Put what comes into `seen`, until nothing comes for a second."""
    with plain.stream("POST", "/chat/completions", json=body, timeout=1) as response:
        seen.extend(response.iter_bytes())


@pytest.mark.parametrize("streamed", [True, False])
def test_it_can_be_slow(client: OpenAI, streamed: bool) -> None:
    script, started = "!slow 50\n!think Well \n!say one two three four", time.monotonic()
    if streamed:
        stream(client, script)
    else:
        ask(client, script)

    assert time.monotonic() - started > 4 * 0.05


def test_it_is_slow_after_a_tool_too(client: OpenAI) -> None:
    started = time.monotonic()
    ask(client, "!slow 50\n!tool a {}", called("a"), tool_result("one two"))

    assert time.monotonic() - started > 5 * 0.05


def test_it_can_cut_characters_in_two(client: OpenAI) -> None:
    script = "!units 1\n!think 🤔\n!say a🦊"
    deltas = [chunk.choices[0].delta.model_dump() for chunk in stream(client, script) if chunk.choices]

    assert [delta["reasoning_content"] for delta in deltas if delta.get("reasoning_content")] == ["\ud83e", "\udd14"]
    assert [delta["content"] for delta in deltas if delta["content"]] == ["a", "\ud83e", "\udd8a"]


def test_it_cuts_what_a_tool_said_as_well(client: OpenAI) -> None:
    messages: Any = [user("!units 1\n!tool a {}"), called("a"), tool_result("🦊")]
    chunks = client.chat.completions.create(model="offline", messages=messages, stream=True)

    assert [text for chunk in chunks if (text := chunk.choices[0].delta.content)][-2:] == ["\ud83e", "\udd8a"]


@pytest.mark.parametrize("streamed", [True, False])
def test_half_a_character_is_repeated_as_it_was_heard(plain: httpx.Client, streamed: bool) -> None:
    body = json.dumps({"messages": [user("half \ud83d")], "stream": streamed})
    answer = plain.post("/chat/completions", content=body).text

    assert r"half " in answer
    assert r"\ud83d" in answer


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "a list": b"[]",
    "no messages": b"{}",
    "empty messages": b'{"messages": []}',
    "an unknown role": b'{"messages": [{"role": "king", "content": "x"}]}',
    "a number for content": b'{"messages": [{"role": "user", "content": 1}]}',
    "nesting without end": b"[" * 100_000,
    "a status that is none": b'{"messages": [{"role": "user", "content": "!fail soon"}]}',
    "a success for a failure": b'{"messages": [{"role": "user", "content": "!fail 200"}]}',
    "a pause that is none": b'{"messages": [{"role": "user", "content": "!slow down"}]}',
    "units that are none": b'{"messages": [{"role": "user", "content": "!units all"}]}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_a_400_in_openais_envelope(plain: httpx.Client, body: bytes) -> None:
    response = plain.post("/chat/completions", content=body)
    error = response.json()["error"]

    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


def test_an_unknown_address_is_a_404_in_the_same_envelope(plain: httpx.Client) -> None:
    response = plain.post("/responses", json={})

    assert (response.status_code, response.json()["error"]["type"]) == (404, "invalid_request_error")


def test_it_is_one_model(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["offline"]


EMBEDDINGS: dict[str, tuple[Any, int]] = {
    "a text": ("hello", 1),
    "texts": (["a", "b", "c"], 3),
    "tokens": ([1, 2, 3], 1),
    "lists of tokens": ([[1, 2], [3]], 2),
}


@pytest.mark.parametrize(("given_input", "count"), EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_every_text_has_an_embedding(client: OpenAI, given_input: Any, count: int) -> None:
    embeddings = client.embeddings.create(model="offline", input=given_input).data

    assert [(i, 1536) for i in range(count)] == [(found.index, len(found.embedding)) for found in embeddings]


def test_bad_embeddings_are_a_400(plain: httpx.Client) -> None:
    assert plain.post("/embeddings", json={"input": 1}).status_code == 400


def test_two_conversations_at_once_know_nothing_of_each_other(client: OpenAI) -> None:
    answers: dict[str, list[str]] = {"Ada": [], "Bob": []}
    in_step = threading.Barrier(2)

    def talk(name: str) -> None:
        messages: list[Any] = [user(f"!say Hello.\nMy name is {name}")]
        for text in ("What is my name?", "and now", "What is my name?"):
            in_step.wait(30)
            messages += [{"role": "assistant", "content": answer(client, *messages)}, user(text)]
            answers[name].append(answer(client, *messages))

    threads = [threading.Thread(target=talk, args=(name,)) for name in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {n: [f"Your name is {n}.", "You said: and now", f"Your name is {n}."] for n in answers} == answers
    assert answer(client, "What is my name?") == "I do not know your name."


WORDS = ["!say x", "!think y", "!tool t {", "!tool", "!slow 0", "!dance", "My name is Ada", "Remember: x", REMINDER]
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from([*WORDS, "<system-reminder>", "What is my name?", "\n", " "])
).map("\n".join)
PARTS = st.builds(lambda text: {"type": "text", "text": text}, TEXTS) | st.just({"type": "image_url", "image_url": {}})
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
            "content": TEXTS | st.lists(PARTS, max_size=3) | st.none(),
        }
    ),
    min_size=1,
    max_size=6,
)


@given(messages=MESSAGES, tools=st.sampled_from([None, [], MEMORY]))
def test_any_messages_have_a_completion(plain: httpx.Client, messages: list[Body], tools: list[Body] | None) -> None:
    body = {"messages": messages, "tools": tools}
    whole, streamed = (plain.post("/chat/completions", json={**body, "stream": flag}) for flag in (False, True))

    assert (whole.status_code, streamed.status_code) == (200, 200)
    (choice,) = ChatCompletion.model_validate(whole.json(), strict=True).choices
    assert (choice.finish_reason == "tool_calls") == bool(choice.message.tool_calls)
    *frames, done = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    chunks = [ChatCompletionChunk.model_validate_json(frame, strict=True) for frame in frames]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (choice.message.content or "")
    assert done == "[DONE]"
