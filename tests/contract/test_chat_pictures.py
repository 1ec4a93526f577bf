"""Pictures in chats, with a gateway in front of each side: the model is shown what is on screen, each picture once."""

from typing import Any

import pytest
from openai import OpenAI

from gateway.settings import Images
from tests.contract.scene import Scene
from tests.contract.table import needs
from tests.frontend import Frontend
from tests.gateways import chat as body
from tests.gateways import http, sdk
from tests.integration.words import someone, unheard
from tests.pictures.drawn import GIF, JPEG, WEBP, Picture, picture
from tests.servers.picture_server import PictureServer, answer, fetcher_of


def test_a_picture_is_seen_and_sent_once(chat: Frontend, scene: Scene) -> None:
    look, shown = unheard("look"), picture()
    chat.say(look, shown)
    assert scene.said_once(look) == [("user", f"{look}\n{shown.name}")]

    before = scene.conversations(chat.user)
    for text in (unheard("two"), unheard("three")):
        path = chat.said()
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]
    assert scene.conversations(chat.user) == before


def test_pictures_and_texts_keep_their_order(client: OpenAI, scene: Scene) -> None:
    one, other, question = picture(), picture(), unheard("which is redder?")
    texts: list[Any] = [{"type": "text", "text": text} for text in ("this", "or this:", question)]
    content = [texts[0], one.part, texts[1], other.part, texts[2]]
    messages: Any = [{"role": "user", "content": content}]
    client.chat.completions.create(model="tutor", messages=messages, extra_headers={"X-OpenWebUI-User-Id": someone()})

    assert scene.said_once(question) == [("user", f"this\n{one.name}\nor this:\n{other.name}\n{question}")]


def test_two_pictures_and_nothing_else_are_a_message(chat: Frontend, scene: Scene) -> None:
    one, other = picture(), picture()
    chat.say("", one, other)
    assert scene.said_once(other.name) == [("user", f"{one.name}\n{other.name}")]

    before, path, text = scene.conversations(chat.user), chat.said(), unheard("two")
    chat.say(text)
    assert scene.said_once(text) == [*path, ("user", text)]
    assert scene.conversations(chat.user) == before


def test_regenerate_shows_the_picture_once_again(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    before, two, shown = chat.said(), unheard("two"), picture()
    chat.regenerate(chat.say(two, shown))

    assert scene.said(two) == [[*before, ("user", f"{two}\n{shown.name}")]] * 2
    path, three = chat.said(), unheard("three")
    chat.say(three)
    assert scene.said_once(three) == [*path, ("user", three)]


@pytest.mark.parametrize("other", [False, True], ids=["that keeps its picture", "with another picture"])
@pytest.mark.parametrize("turn", [0, 1], ids=["the first", "the last"])
def test_an_edit_of_a_message(chat: Frontend, scene: Scene, turn: int, other: bool) -> None:
    answers = [chat.say(unheard(str(i)), picture()) for i in range(2)]
    edited, text, others = answers[turn].parent, unheard("edited"), [picture()] * other
    assert edited
    chat.edit(edited, text, *others)

    path = chat.said()
    assert scene.said_once(text) == path[:-1]
    assert path[-2] == ("user", "\n".join([text, (others or edited.pictures)[0].name]))
    after = unheard("after")
    chat.say(after)
    assert scene.said_once(after) == [*path, ("user", after)]


def test_the_same_words_with_another_picture_are_another_message(chat: Frontend, scene: Scene) -> None:
    look, two = unheard("look"), unheard("two")
    first = chat.say(look, picture())
    assert first.parent
    chat.edit(first.parent, look, picture())
    for branch in (chat.last, first, chat.last):
        chat.last = branch
        path, text = chat.said(), unheard(two)
        chat.say(text)
        assert scene.said_once(text) == [*path, ("user", text)]


@needs("pasts")
def test_a_clone_has_the_pictures(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    for each in (chat.clone(), chat):
        for text in (unheard("two"), unheard("three")):
            path = each.said()
            each.say(text)
            assert scene.said_once(text) == [*path, ("user", text)]


@needs("pasts")
def test_an_edited_answer_about_a_picture_is_what_the_agent_has_said(chat: Frontend, scene: Scene) -> None:
    first = chat.say(unheard("one"), picture())
    chat.say(unheard("two"), picture())
    first.shown = unheard("No, I said this")
    path, three = chat.said(), unheard("three")
    chat.say(three)

    assert scene.said_once(three) == [*path, ("user", three)]


def test_after_stop_the_picture_is_kept(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"))
    stopped, shown = unheard("!hang\n"), picture()
    chat.stop(stopped, shown)
    path, two = chat.said(), unheard("two")
    chat.say(two)

    assert scene.said_once(two) == [*path, ("user", two)]
    assert path[-1] == ("user", f"{stopped}\n{shown.name}")


def test_after_a_restart_a_picture_is_known_again(chat: Frontend, scene: Scene) -> None:
    chat.say(unheard("one"), picture())
    chat.say("", picture())
    before = scene.conversations(chat.user)
    with scene.another() as restarted, sdk(restarted, "sk-front") as client:
        chat.client = client
        path, three, shown = chat.said(), unheard("three"), picture()
        answer = chat.say(three, shown)
        assert scene.said_once(three) == [*path, ("user", f"{three}\n{shown.name}")]
        assert scene.conversations(chat.user) == before
        chat.regenerate(answer)
        assert scene.said(three) == [[*path, ("user", f"{three}\n{shown.name}")]] * 2


FORMS = {
    "image/gif": Picture(GIF, "image/gif"),
    "image/webp": Picture(WEBP, "image/webp"),
    "image/jpeg": Picture(JPEG, "image/jpeg"),
    "too wide for an App Server": picture(2500, 2),
    "of megabytes": picture(1000, 1000, noise=True),
}


@needs("forms")
@pytest.mark.parametrize("shown", FORMS.values(), ids=FORMS)
def test_a_picture_that_letta_makes_another_of_is_known_again(chat: Frontend, scene: Scene, shown: Picture) -> None:
    look = unheard("look")
    chat.say(look, shown)
    before = scene.conversations(chat.user)
    for _ in range(2):
        with scene.another() as restarted, sdk(restarted, "sk-front") as client:
            chat.client, text = client, unheard("next")
            chat.say(text)
            (seen, *_), told = scene.said_once(text), scene.said_once(look)
            assert [seen] == told
            assert "[image/" in seen[1]
    assert scene.conversations(chat.user) == before
    # An App Server shows PNG and JPEG of no more than 2000 pixels a side.
    if scene.side.kind == "v1":
        assert shown.name in seen[1]


class Elsewhere(Picture):
    """A picture that is shown by its address."""

    address = ""

    @property
    def part(self) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": self.address}}


def test_a_picture_that_is_shown_by_its_address_is_seen_and_known_again(scene: Scene) -> None:
    shown, look = Elsewhere(picture().data), unheard("look")
    with PictureServer() as server:
        shown.address = server.serve("/a", answer(shown.data))
        web = {"images": Images(fetch=True), "fetch": fetcher_of(server)}
        with scene.another(**web) as url, sdk(url, "sk-front") as client:
            chat = Frontend(client, someone(), ids=scene.ids)
            chat.say(look, shown)
            before = scene.conversations(chat.user)
            chat.say(unheard("two"))
        with scene.another(**web) as restarted, sdk(restarted, "sk-front") as client:
            chat.client, path, three = client, chat.said(), unheard("three")
            chat.say(three)

    assert scene.said_once(look) == [("user", f"{look}\n{shown.name}")]
    assert scene.said_once(three) == [*path, ("user", three)]
    assert scene.conversations(chat.user) == before
    assert server.paths == ["/a", "/a"]


# A client that keeps no history


@pytest.mark.parametrize("restarts", [False, True], ids=["at once", "after a restart"])
def test_a_picture_of_a_stopped_turn_is_brought_back(scene: Scene, restarts: bool) -> None:
    user, stopped, shown, two = someone(), unheard("!hang\n"), picture(), unheard("two")
    looking = body(
        user=user, stream=True, messages=[{"role": "user", "content": [{"type": "text", "text": stopped}, shown.part]}]
    )
    with scene.another() as other, http(other) as doomed:
        doomed.headers["X-Chat-Id"] = "here"
        doomed.post("/v1/chat/completions", json=body(unheard("one"), user=user)).raise_for_status()
        with doomed.stream("POST", "/v1/chat/completions", json=looking):
            scene.wait_for(shown.name)
        if not restarts:
            doomed.post("/v1/chat/completions", json=body(two, user=user)).raise_for_status()
    with http(scene.url) as again:
        if restarts:
            again.headers["X-Chat-Id"] = "here"
            again.post("/v1/chat/completions", json=body(two, user=user)).raise_for_status()

    *_, brought_back, last = scene.said_once(two)
    assert [brought_back, last] == [("user", f"{stopped}\n{shown.name}"), ("user", two)]
