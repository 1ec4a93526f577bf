"""Pictures on the chat page: how a person attaches them, how they are shown, sent and kept."""

from typing import Any

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.browser.chat_page import ChatPage
from tests.pictures.drawn import Picture
from tests.servers.fake_letta import FakeLetta

GIVE = """([how, files]) => {
    const data = new DataTransfer();
    for (const {name, text} of files)
        data.items.add(new File([Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0))], name));
    const field = document.querySelector("#say");
    const options = {bubbles: true, cancelable: true};
    if (how === "pasted") return field.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: data}));
    for (const kind of ["dragover", "drop"])
        document.querySelector("#scroll").dispatchEvent(new DragEvent(kind, {...options, dataTransfer: data}));
}"""
IN_DATABASE = """(change) => new Promise((resolve, reject) => {
    const opening = indexedDB.open("letta-gateway.pictures");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
        const transaction = opening.result.transaction("pictures", "readwrite");
        const store = transaction.objectStore("pictures");
        if (change === "clear") store.clear();
        if (change === "put") store.put({id: "nobody's", blob: new Blob(["x"]), kept: 0});
        const keys = store.getAllKeys();
        transaction.oncomplete = () => { opening.result.close(); resolve(keys.result); };
    };
})"""


def file(shown: Picture | bytes, name: str = "cat.png") -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": shown.data if isinstance(shown, Picture) else shown}


def attach(chat: ChatPage, *files: FilePayload, inside: Locator | None = None) -> None:
    """Choose files by the button, and wait until they are read."""
    with chat.page.expect_file_chooser() as choosing:
        chat.press("Add pictures", inside or chat.page.locator("#composer"))
    choosing.value.set_files(list(files))


def attached(chat: ChatPage) -> Locator:
    return chat.page.locator("#composer .attachments li")


def shown(chat: ChatPage) -> Locator:
    """The pictures of the messages on screen."""
    return chat.page.locator(".question .shown .pictures .picture")


def seen(pictures: Locator) -> list[list[int]]:
    """The sizes of pictures, once the browser has drawn them."""
    found: list[list[int]] = pictures.evaluate_all("""(all) => Promise.all(all.map(async (each) => {
        const image = each.matches("img") ? each : each.querySelector("img");
        await image.decode();
        return [image.naturalWidth, image.naturalHeight];
    }))""")
    return found


def attach_one(chat: ChatPage, one: Picture, name: str = "cat.png") -> None:
    """Attach one more picture, and wait until it is seen."""
    count = attached(chat).count()
    attach(chat, file(one, name))
    expect(attached(chat)).to_have_count(count + 1)


def contents(letta: FakeLetta) -> list[Any]:
    """What the last run was begun with."""
    return [message["content"] for message in letta.runs[-1]["messages"] if "content" in message]


def as_letta_has(text: str, *pictures: Picture) -> list[dict[str, Any]]:
    texts = [{"type": "text", "text": text}] if text else []
    sources = [{"type": "base64", "media_type": one.media_type, "data": one.base64} for one in pictures]
    return [*texts, *({"type": "image", "source": source} for source in sources)]


def kept_pictures(page: Page, change: str = "") -> list[str]:
    """The ids of the pictures that the browser keeps, after a `change`: `clear`, or `put` for one that nobody uses."""
    ids: list[str] = page.evaluate(IN_DATABASE, change)
    return ids
