"""Measures how quick the page is: `python -m tests.browser.quickness [WORDS] [TOKENS]`.

It opens a chat of 50,000 words and streams a long answer into it, 200 tokens a second, and says which tasks kept the
browser busy for more than 50 ms (https://w3c.github.io/longtasks/), after an answer into an empty chat for comparison.
"""

import json
import sys
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.browser.chromium import chromium, find_chromium
from tests.gateways import KEY, gateway
from tests.servers.fake_letta import STOP, WORD, FakeLetta, Hold

WATCH_TASKS = """
    window.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({duration}) => duration)))
        .observe({type: "longtask", buffered: true});
"""
# Nothing that looks at the whole page: it would be measured, too.
ANSWERED = """() => document.querySelector("#stop").hidden
    && document.querySelector("#messages").lastChild.getAttribute("aria-busy") === "false" """
ANSWER = """## A heading

Some **words** of an answer, with `code` in them, a [link](https://example.com) and what else *people* write, so that a
paragraph is about as long as it usually is. And another sentence, to make it longer.

1. One thing, and what is to be said of it
2. Another, with an item of its own
   - which is said here
   - and here

```python
def answer(question: str) -> str:
    return question.upper()
```

| Name | Kind | Where it grows, and what else is to be said |
|---|---|---|
| Sencha | green | In the mountains, where fog lies in the morning |
| Bancha | green | Everywhere |

"""
EACH = len(ANSWER.split())


def long_chat(words: int) -> dict[str, Any]:
    """A chat as the page keeps it, of questions and answers of so many words altogether."""
    messages: list[dict[str, Any]] = []
    for i in range(words // EACH):
        parent = messages[-1]["id"] if messages else None
        messages.append({"id": f"q{i}", "role": "user", "parent": parent, "text": f"Question {i}: `why` so?"})
        answer = {"id": f"a{i}", "role": "assistant", "parent": f"q{i}", "model": "tutor", "state": "done"}
        messages.append({**answer, "parts": [{"kind": "text", "text": ANSWER}]})
    return {
        "id": "long",
        "owner": "Ada",
        "model": "tutor",
        "title": "Long",
        "used": 1,
        "messages": messages,
        "chosen": {},
    }


def tokens(count: int) -> Iterator[Any]:
    """An answer in so many tokens, 200 of them a second."""
    words = [word + " " * (not word.endswith("\n")) for line in ANSWER.splitlines(True) for word in line.split(" ")]
    for word in islice(cycle(words), count):
        yield {**WORD, "content": word}
        yield Hold(0.005)


def measured(page: Page, chat: ChatPage, letta: FakeLetta, count: int) -> dict[str, Any]:
    opening = page.evaluate("tasks.splice(0)")
    letta.steps = [*tokens(count), STOP]
    began = page.evaluate("performance.now()")
    page.locator("#say").fill("Go on")
    page.locator("#say").press("Enter")
    page.wait_for_function(ANSWERED, polling=200)
    seconds = (page.evaluate("performance.now()") - began) / 1000
    told = {"opening": opening, "streaming": page.evaluate("tasks.splice(0)"), "seconds": seconds}
    return {**told, "tokens a second": count / seconds}


def main(words: int = 50_000, count: int = 4_000) -> None:
    path = find_chromium()
    expect.set_options(timeout=600_000)
    assert path, "Chromium is not installed"
    with FakeLetta() as letta, gateway(letta.base_url, chat_page=True) as url, chromium(path) as browser:
        for name, kept in {"an empty chat": None, f"{words} words": long_chat(words)}.items():
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(600_000)
            page.add_init_script(WATCH_TASKS)
            with ChatPage(page, url).opened(KEY, "Ada") as chat:
                if kept:
                    keep = """(kept) => {
                        localStorage.setItem("letta-gateway.chat.long", kept);
                        sessionStorage.setItem("letta-gateway.open", "long");
                    }"""
                    page.evaluate(keep, json.dumps(kept))
                    page.reload()
                    chat.answers.last.wait_for()
                print(name, json.dumps(measured(page, chat, letta, count)))
            page.context.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
