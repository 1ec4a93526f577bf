"""Chats as the page keeps them, put where it finds them."""

from typing import Any

from tests.browser.chat_page import ChatPage

DAY = 24 * 60 * 60 * 1000


def kept(title: str, *texts: str, used: int = 0, owner: str = "Ada") -> dict[str, Any]:
    """A chat: a message of the person's, an answer, a message, …; `used` is a time in milliseconds."""
    messages: list[dict[str, Any]] = []
    for i, text in enumerate(texts):
        said = {"id": f"{title}-{i}", "parent": f"{title}-{i - 1}" if i else None}
        if i % 2 == 0:
            messages.append({**said, "role": "user", "text": text})
        else:
            parts = [{"kind": "thoughts", "text": "Hm."}, {"kind": "text", "text": text}]
            messages.append({**said, "role": "assistant", "model": "tutor", "parts": parts, "state": "done"})
    about = {"id": f"chat-{title}", "owner": owner, "model": "tutor", "title": title, "used": used}
    return {**about, "messages": messages, "chosen": {}}


def keep(chat: ChatPage, *chats: dict[str, Any]) -> None:
    """Have the page find these chats when it is opened again; the first is the newest, if they do not say."""
    script = """(chats) => {
        const now = Date.now();
        for (const [i, chat] of chats.entries()) {
            chat.used ||= now - i;
            localStorage.setItem(`letta-gateway.chat.${chat.id}`, JSON.stringify(chat));
        }
    }"""
    chat.page.evaluate(script, list(chats))
    chat.page.reload()
