"""Measures for how long the chat page is busy at once, with 500 chats, one of them of 50,000 words.

    uv run python -m tests.browser.long_tasks [CHATS WORDS]

A task over 50 ms is a long one: https://w3c.github.io/longtasks/. The times depend on the machine, so that it is no
test. By the clock they depend on what else runs there, too: beside them stands the processor's time.
"""

import json
import sys
from collections.abc import Callable
from random import Random
from typing import Any

from playwright.sync_api import expect

from tests.browser.chat_page import ChatPage, shown
from tests.browser.chromium import chromium, find_chromium
from tests.browser.kept import DAY, keep, kept
from tests.gateways import gateway
from tests.servers.fake_letta import STOP, WORD, FakeLetta

OBSERVE = """
    window.longTasks = [];
    new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: "longtask", buffered: true });
"""
WORDS = ("memory", "agent", "letter", "window", "garden", "music", "water", "number", "green", "quick", "needle")
# So that what a step has set off is over.
QUIET = "new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 500)))"
STREAMED: list[Any] = [WORD, *({**WORD, "content": f" {word}"} for word in WORDS * 50), STOP]


def text(words: int, random: Random) -> str:
    return " ".join(random.choices(WORDS, k=words)).replace("green", "**green**")


def chats(count: int, words: int, now: int) -> list[dict[str, Any]]:
    """Chats of ten messages each and, as the newest, one of so many words in messages of 200."""
    random = Random(7)
    long = kept("Long", *(text(200, random) for _ in range(words // 200)), used=now)
    some = (
        kept(f"{i} {text(4, random)}", *(text(40, random) for _ in range(10)), used=now - i * DAY // 4)
        for i in range(1, count)
    )
    return [long, *some]


def measure(chat: ChatPage, step: str, act: Callable[[], object]) -> None:
    page, browser = chat.page, chat.page.context.browser
    assert browser
    page.evaluate(QUIET)
    page.evaluate("longTasks.length = 0")
    browser.start_tracing(page=page, categories=["toplevel"])
    act()
    page.evaluate(QUIET)
    busy = processor_times(json.loads(browser.stop_tracing()))
    tasks = sorted((round(task) for task in page.evaluate("longTasks")), reverse=True)
    print(f"{step:40} {len(tasks)} over 50 ms {tasks[:3]}, the processor at most {busy[:3]}", flush=True)


def processor_times(trace: dict[str, Any]) -> list[int]:
    """How many milliseconds the tasks of the page took, the longest first."""
    events = trace["traceEvents"]
    named = [event for event in events if event.get("args", {}).get("name") == "CrRendererMain"]
    threads = {(event["pid"], event["tid"]) for event in named}
    tasks = [event for event in events if event["name"] == "ThreadControllerImpl::RunTask"]
    times = [task.get("tdur", 0) for task in tasks if (task["pid"], task["tid"]) in threads]
    return sorted((round(time / 1000) for time in times), reverse=True)


def main(count: int, words: int) -> None:
    path = find_chromium()
    if path is None:
        sys.exit("Chromium is not installed")
    with FakeLetta() as letta, gateway(letta.base_url, chat_page=True) as url, chromium(path) as browser:
        letta.steps = STREAMED
        with shown(browser, url, "Ada") as chat:
            page = chat.page
            page.add_init_script(OBSERVE)
            keep(chat, *chats(count, words, page.evaluate("Date.now()")))
            expect(chat.chats).to_have_count(count)
            measure(chat, "the page is loaded", page.reload)
            measure(chat, "a chat of ten messages is opened", chat.chats.nth(3).click)
            measure(chat, f"the chat of {words:,} words is opened", chat.chats.first.click)
            measure(chat, "the page is loaded with that chat", page.reload)
            measure(chat, "a message is written there", lambda: page.locator("#say").press_sequentially("Hello there"))
            measure(chat, f"it is answered by {len(STREAMED) - 1} tokens", lambda: answer(chat))
            measure(chat, "words are looked for", lambda: page.locator("#search").press_sequentially("needle green"))
            measure(chat, "the search is cleared", lambda: press(chat, ["Escape"]))
            chat.chats.first.focus()
            measure(chat, "the list is gone through", lambda: press(chat, ["ArrowDown"] * 60))
            measure(chat, "to its end", lambda: press(chat, ["End"]))
            measure(chat, "a chat gets another title", lambda: rename(chat))
            measure(chat, "a new chat is begun", page.locator("#new-chat").click)
            measure(chat, "a message is written in it", lambda: page.locator("#say").press_sequentially("Hello"))
            measure(chat, "it is sent and answered", lambda: answer(chat))
            measure(chat, "a chat is deleted", lambda: delete(chat))


def answer(chat: ChatPage) -> None:
    """Send what is written. Looking for roles and names would keep the page busy, too."""
    done = chat.page.locator(".answer[aria-busy=false]")
    before = done.count()
    chat.page.keyboard.press("Enter")
    done.nth(before).wait_for()


def press(chat: ChatPage, keys: list[str]) -> None:
    for key in keys:
        chat.page.keyboard.press(key)


def rename(chat: ChatPage) -> None:
    chat.page.keyboard.press("F2")
    chat.page.keyboard.type("Another\n")


def delete(chat: ChatPage) -> None:
    chat.chats.first.focus()
    chat.page.keyboard.press("Delete")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:] or (500, 50_000)))
