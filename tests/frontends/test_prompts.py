"""Which requests are background tasks: by their header, else by the words of their prompt."""

from typing import Any

import msgspec
import pytest

from gateway.domain.request import Request, RequestRole
from gateway.domain.tasks import Task
from gateway.frontends.prompts import Prompt, worded
from gateway.frontends.reading import ALL_PROMPTS as PROMPTS
from gateway.frontends.reading import find_task
from gateway.settings import Key
from gateway.wires.chat_completions.request import ChatMessage, ContentPart
from tests.asking import asking

KEY = Key(name="frontend")
HISTORY = "### Chat History:\n<chat_history>\nUSER: I like tea\nASSISTANT: So do I.\n</chat_history>"
TITLE_PROMPT = f"### Task:\nGenerate a concise title summarizing the chat history.\n### Guidelines:\n- …\n{HISTORY}"


def request(*said: tuple[RequestRole, str], **more: Any) -> Request:
    return asking([ChatMessage(role, text) for role, text in said], **more)


# client -> the messages of a task, and which it is. Each begins as its client's prompt does.
ASKED: dict[str, tuple[list[tuple[RequestRole, str]], Task]] = {
    "Open WebUI, title": ([("user", TITLE_PROMPT)], Task("title_generation")),
    "Open WebUI, title of older releases": (
        [
            (
                "user",
                f"### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n{HISTORY}",
            )
        ],
        Task("title_generation"),
    ),
    "Open WebUI, tags": (
        [
            (
                "user",
                "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with 1-3 "
                f"more specific subtopic tags.\n\n{HISTORY}",
            )
        ],
        Task("tags_generation"),
    ),
    "Open WebUI, follow-ups": (
        [
            (
                "user",
                "### Task:\nPredict 3-5 useful messages this user might naturally send next to advance their current "
                f"objective.\n{HISTORY}",
            )
        ],
        Task("follow_up_generation"),
    ),
    "Open WebUI, follow-ups of older releases": (
        [
            (
                "user",
                "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask "
                f"next in this conversation.\n{HISTORY}",
            )
        ],
        Task("follow_up_generation"),
    ),
    "Open WebUI, queries": (
        [
            (
                "user",
                "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, in the "
                f"given language.\n{HISTORY}",
            )
        ],
        Task("query_generation"),
    ),
    "Open WebUI, autocomplete": (
        [
            (
                "user",
                "### Task:\nYou are an autocompletion system. Continue the text in `<text>` based on the **completion "
                "type** in `<type>` and the given language.\n<type>General</type>\n<text>The quick</text>",
            )
        ],
        Task("autocomplete_generation"),
    ),
    "Open WebUI, image prompt": (
        [
            (
                "user",
                "### Task:\nGenerate a detailed prompt for am image generation task based on the given language and "
                f"context.\n{HISTORY}",
            )
        ],
        Task("image_prompt_generation"),
    ),
    "Open WebUI, emoji": (
        [
            (
                "user",
                "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Interpret "
                "emotions from the message.\n\nMessage: ```I am happy```",
            )
        ],
        Task("emoji_generation"),
    ),
    "Open WebUI, merge": (
        [
            (
                "user",
                "You have been provided with a set of responses from various models to the latest user query: "
                '"q"\n\nResponses from models: """a"""',
            )
        ],
        Task("moa_response_generation"),
    ),
    "Open WebUI, compaction": (
        [
            (
                "user",
                "### Task:\nSummarize the conversation history that will be compacted out of the active chat context."
                "\n\n### Messages Being Compacted:\nUSER: hi",
            )
        ],
        Task("context_compaction"),
    ),
    "Open WebUI, function calling": (
        [
            (
                "system",
                "Available Tools: [{}]\n\nYour task is to choose and return the correct tool(s) from the list of "
                "available tools based on the query.",
            ),
            ("user", 'History:\nUSER: """hi"""\nQuery: hi'),
        ],
        Task("function_calling"),
    ),
    "Open WebUI, memory review": (
        [
            ("system", "You are Open WebUI's private memory reviewer. Return only valid JSON."),
            ("user", "Review this conversation.\n\nExisting memories:\n\nConversation:\nuser: hi"),
        ],
        Task("memory_review"),
    ),
    "LibreChat, completion": (
        [
            (
                "user",
                "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only "
                "return the title itself.\n\nConversation:\nUser: I like tea\nAI: So do I.",
            )
        ],
        Task("title_generation", in_json=False),
    ),
    "LibreChat, structured": (
        [
            (
                "user",
                "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise "
                "title in the detected language (5 words or less, no punctuation or quotation)\n\nUser: I like tea",
            )
        ],
        Task("title_generation", in_json=False),
    ),
    "Continue, title": (
        [
            (
                "user",
                "Given the following... please reply with a title for the chat that is 3-4 words in length, all words "
                "used should be directly related to the content of the chat, avoid using verbs unless they are "
                "directly related to the content of the chat, no additional text or explanation, you don't need "
                "ending punctuation.\n\nTea it is.",
            )
        ],
        Task("title_generation", in_json=False),
    ),
    "LobeChat, title": (
        [
            (
                "system",
                "You are a professional conversation summarizer. Generate a concise title that captures the essence "
                "of the conversation.\n\nRules:\n- Output ONLY the title text\n- Use the language specified by the "
                "locale code: en-US",
            ),
            ("user", "user: I like tea\nassistant: So do I."),
        ],
        Task("title_generation", in_json=False),
    ),
    "n8n, title": (
        [
            (
                "system",
                "Generate a concise, descriptive title for this conversation based on the user's message.\n\n"
                "Requirements:\n- 3 to 5 words\n- Only output the title, nothing else\n",
            ),
            ("user", "I like tea"),
        ],
        Task("title_generation", in_json=False),
    ),
    "opencode, title": (
        [
            ("system", "You are a title generator. You output ONLY a thread title. Nothing else.\n\n<task>\n…"),
            ("user", "Generate a title for this conversation:\n"),
            ("user", "I like tea"),
        ],
        Task("title_generation", in_json=False),
    ),
    "qwen-code, memory": (
        [
            ("system", "You are now acting as the managed memory extraction subagent for an AI coding assistant.\n\n…"),
            ("user", "I like tea"),
            ("assistant", "So do I."),
            ("user", "Update the memory."),
        ],
        Task("memory_extraction", in_json=False),
    ),
}


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.begins[:60])
def test_a_prompt_that_is_all_system_text_is_its_task(prompt: Prompt) -> None:
    asked = request(("system", f"{prompt.begins}\n{prompt.holds}"))

    assert find_task(KEY, {}, asked) == Task(prompt.kind, prompt.in_json)
    assert find_task(KEY, {"x-task": ""}, asked) is None


def test_system_text_alone_is_a_task_where_its_header_or_its_model_says_so() -> None:
    asked = request(("system", "Name this chat"))

    assert find_task(KEY, {}, asked) is None
    assert find_task(KEY, {"x-task": "title_generation"}, asked) == Task("title_generation")
    assert find_task(KEY, {}, msgspec.structs.replace(asked, model="task")) == Task("title_generation", in_json=False)


@pytest.mark.parametrize(("said", "task"), ASKED.values(), ids=ASKED)
def test_a_task_without_a_header_is_known_by_the_words_of_its_prompt(
    said: list[tuple[RequestRole, str]], task: Task
) -> None:
    assert find_task(KEY, {}, request(*said)) == task


def test_every_prompt_of_the_table_has_an_example_of_its_own() -> None:
    asked = [request(*said) for said, _ in ASKED.values()]
    found = [[one for one in asked if prompt.fits(worded(one))] for prompt in PROMPTS]

    assert [len(fitting) for fitting in found] == [1] * len(PROMPTS) == [1] * len(asked)


def test_every_prompt_of_the_table_says_where_it_stands() -> None:
    assert {prompt.source for prompt in PROMPTS if not prompt.source.startswith("https://github.com/")} == set()


TURNS: dict[str, Request] = {
    "a real message with a file": request(
        ("user", f"### Task:\nRespond to the user query using the provided context.\n<context></context>\n{HISTORY}")
    ),
    "the heading alone": request(("user", "### Task:\nWater the plants")),
    "a prompt that is streamed": request(("user", TITLE_PROMPT), stream=True),
    "a prompt in the middle of a message": request(("user", f"What does this do?\n{TITLE_PROMPT}")),
    "a prompt without a chat": request(("user", TITLE_PROMPT.partition("### Chat History:")[0])),
    "a prompt after an answer": request(("user", "hi"), ("assistant", "hello"), ("user", TITLE_PROMPT)),
    "a prompt with a system text": request(("system", "Be kind."), ("user", TITLE_PROMPT)),
    "a system prompt that begins as one": request(("system", "Available Tools: a hammer"), ("user", "Build a house")),
    "a wish for a title": request(("user", "Provide a concise, 5-word-or-less title for the conversation we had.")),
    "a message of parts": asking([ChatMessage("user", [ContentPart("text", "hello")])]),
    "no text": asking([ChatMessage("user")]),
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_real_turn_is_no_task(turn: Request) -> None:
    assert find_task(KEY, {}, turn) is None


def test_merges_and_titles_of_other_clients_may_be_streamed() -> None:
    streamed = {name for name, (said, task) in ASKED.items() if find_task(KEY, {}, request(*said, stream=True)) == task}

    assert streamed == {
        "Open WebUI, merge",
        "LibreChat, completion",
        "LibreChat, structured",
        "Continue, title",
        "LobeChat, title",
        "n8n, title",
        "opencode, title",
        "qwen-code, memory",
    }


# header, the words of a prompt or not -> what it is
NAMED: dict[str, tuple[str, bool, Task | None]] = {
    "a task": ("tags_generation", False, Task("tags_generation")),
    "a task nobody knows": ("poem_generation", False, Task("poem_generation")),
    "one task with the words of another": ("tags_generation", True, Task("tags_generation")),
    "present and empty": ("", False, None),
    "present and empty, with the words of a task": ("", True, None),
    "a placeholder left in": ("{{TASK}}", False, None),
    "a placeholder left in, with the words of a task": ("{{TASK}}", True, Task("title_generation")),
}


@pytest.mark.parametrize(("header", "words", "task"), NAMED.values(), ids=NAMED)
def test_the_header_decides_before_the_words(header: str, words: bool, task: Task | None) -> None:
    asked = request(("user", TITLE_PROMPT if words else "hello"))

    assert find_task(KEY, {"x-task": header}, asked) == task


def test_a_key_may_name_another_header() -> None:
    key = Key(name="frontend", task_header="X-Job")

    assert find_task(key, {"x-job": "emoji_generation"}, request(("user", "hi"))) == Task("emoji_generation")
    assert find_task(key, {"x-task": "emoji_generation"}, request(("user", "hi"))) is None


def test_whoever_asks_the_model_for_tasks_wants_a_title_unless_something_else_is_known() -> None:
    wish: list[tuple[RequestRole, str]] = [("user", "Name this chat: tea")]
    asked = [wish, *(said for said, _ in ASKED.values())]
    found = [find_task(KEY, {}, msgspec.structs.replace(request(*said), model="task")) for said in asked]

    assert found == [Task("title_generation", in_json=False), *(task for _, task in ASKED.values())]
