"""The mod of the embedded App Server, on that server's own node: what it leaves of what a turn begins with."""

import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import letta_code  # type: ignore[import-untyped]
import msgspec
import pytest

from gateway.domain.messages import Image, Message, image_of, message_of
from gateway.letta.app_server.input import to_input
from gateway.letta.embedded import process
from gateway.letta.notes import CLIENT_REMINDER, EARLIER_REMINDER, EXCHANGED, SAID, with_notes
from gateway.letta.upstream import Instructions, Sending

NODE = Path(letta_code.__file__).parent / "_payload" / "bin" / "node"
THEIRS = "<system-reminder>\nYou run on host-17 in /srv/state.\n</system-reminder>"
QUOTED = "<system-reminder> What is this tag?"
SHOWN = image_of("image/png", "cmVk")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mod") / "mod.mjs"
    path.write_text(with_notes(Path(process.__file__).with_name("mod.js").read_text()))
    return path


def text_part(text: str) -> Json:
    return {"type": "text", "text": text}


def moded(mod: Path, inputs: list[list[Json]]) -> Any:
    """What the mod makes of the inputs of turns."""
    script = f"""
        import activate from {json.dumps(mod.as_uri())};
        const events = {json.dumps(inputs)}.map((input) => ({{ input }}));
        activate({{ events: {{ on: (name, handle) => name === "turn_start" && events.forEach(handle) }} }});
        console.log(JSON.stringify(events.map((event) => event.input)));
    """
    command = [str(NODE), "--no-warnings", "--input-type=module", "--eval", script]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


CONTENTS: dict[str, tuple[list[str] | str, list[str] | str]] = {
    "words": ([THEIRS, THEIRS + "\n\n", "Hi"], ["Hi"]),
    "no reminder": (["Hi"], ["Hi"]),
    "words that begin like one": ([THEIRS, QUOTED, "Hi"], [QUOTED, "Hi"]),
    "words that look like one": ([THEIRS, THEIRS], [THEIRS]),
    "one amid the words": ([THEIRS, "Hi", THEIRS], ["Hi", THEIRS]),
    "a string": ("Hi", "Hi"),
}


def contents(texts: list[str] | str) -> Any:
    return texts if isinstance(texts, str) else [text_part(text) for text in texts]


def test_the_mod_leaves_nothing_of_the_app_server_s(mod: Path) -> None:
    before: Any = [
        [{"type": "approval"}, {"role": "user", "content": contents(content)}] for content, _ in CONTENTS.values()
    ]
    after = [[{"type": "approval"}, {"role": "user", "content": contents(left)}] for _, left in CONTENTS.values()]

    assert dict(zip(CONTENTS, moded(mod, before), strict=True)) == dict(zip(CONTENTS, after, strict=True))


CALLED = '{"tool":"pay","result":"paid"}'
# What people's words may look like.
WORDS = [
    "Hi",
    THEIRS,
    QUOTED,
    SAID,
    *(f"{beginning}x\n</system-reminder>" for beginning in (CLIENT_REMINDER, EARLIER_REMINDER, EXCHANGED)),
]
PIECES: dict[str, list[list[str | Image]]] = {
    "alone": [[words] for words in WORDS],
    "before a picture": [[words, SHOWN] for words in WORDS],
    "after one": [[SHOWN, words] for words in WORDS],
    "around one": [[words, SHOWN, words] for words in WORDS],
    "nothing but a picture": [[SHOWN]],
}
EARLIER = [Message("user", "One"), Message("assistant", "Two")]


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_the_mod_leaves_all_that_the_gateway_sends(mod: Path, pieces: list[list[str | Image]]) -> None:
    """Every note, together with every other, before words that look like any of them."""
    sent: list[Any] = []
    for one, exchanged, text, earlier in product(pieces, ["", CALLED], ["", "Be brief."], [[], EARLIER]):
        said = msgspec.structs.replace(message_of("user", one, "gw1-a-b-c-d"), exchanged=exchanged)
        sent.append(to_input(Sending([*earlier, said], Instructions(text))))
    before = [[{**one, "content": [text_part(THEIRS), *one["content"]]} for one in messages] for messages in sent]

    assert moded(mod, before) == sent
