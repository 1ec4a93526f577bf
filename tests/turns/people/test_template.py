"""The template of one user's agent: what is filled in, and what makes it count as changed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import DEFAULT_MEMORY, AgentType
from gateway.turns.chats.markers import agent_tags
from gateway.turns.people.identity import User
from gateway.turns.people.template import METADATA_KEY, applied, fill, to_template

ADA = User("school", "u-1", "Ada", "ada@example.org")
TUTOR = AgentType(
    id="tutor",
    model="openai/gpt-4o-mini",
    embedding="openai/text-embedding-3-small",
    system="You teach {user_name}.",
    tools=("web_search",),
    memory={"persona": "Patient.", "human": "{user} is {user_name}, {user_email}."},
)

FILLED: dict[str, tuple[str, User, str]] = {
    "every placeholder": ("{user}/{user_name}/{user_email}", ADA, "u-1/Ada/ada@example.org"),
    "twice": ("{user_name}, {user_name}", ADA, "Ada, Ada"),
    "an unknown email is empty": ("<{user_email}>", User("s", "u", "u"), "<>"),
    "an unknown name is empty": ("<{user_name}>", User("s", "u", ""), "<>"),
    "a name that is a placeholder": ("{user_name}", User("s", "u", "{user_email}", "e"), "{user_email}"),
    "an id that is a placeholder": ("{user} {user_name}", User("s", "{user_name}", "n"), "{user_name} n"),
    "a name that looks like a group": ("{user_name}", User("s", "u", r"\1 \g<0>"), r"\1 \g<0>"),
    "a placeholder made of two values": ("{{user}}", User("s", "user", "n"), "{user}"),
    "other words stay": (
        "{name} {User} {user_id} {user name} {user.name}",
        ADA,
        "{name} {User} {user_id} {user name} {user.name}",
    ),
    "spaces stay": ("{ user }", ADA, "{ user }"),
    "formats stay": ("{user!r} {user:>9} {0} {}", ADA, "{user!r} {user:>9} {0} {}"),
    "JSON stays": ('{"a": {"b": []}}', ADA, '{"a": {"b": []}}'),
    "what no Letta keeps": (
        "{user}|{user_name}|{user_email}",
        User("s", "a\x00b", "Ada\nL\ud83d", "\x9f@"),
        "a b|Ada L | @",
    ),
    "what people's names hold": ("{user_name}", User("s", "u", "نام‌ها 👩‍💻 Zoë"), "نام‌ها 👩‍💻 Zoë"),
    "open ends stay": ("{user {user_name", ADA, "{user {user_name"),
}


@pytest.mark.parametrize(("text", "user", "filled"), FILLED.values(), ids=FILLED.keys())
def test_placeholders_are_replaced_literally_and_in_one_pass(text: str, user: User, filled: str) -> None:
    assert fill(text, user) == filled


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_any_name_stands_as_it_is(name: str) -> None:
    assert fill("<{user_name}>", User("s", "u", name)) == f"<{name}>"


def test_a_template_is_made_of_type_and_user() -> None:
    template = to_template(TUTOR, ADA, "openai/gpt-4o-mini")

    assert (template.model, template.embedding) == ("openai/gpt-4o-mini", "openai/text-embedding-3-small")
    assert template.system == "You teach Ada."
    assert template.tools == ("web_search",)
    assert template.blocks == {"persona": "Patient.", "human": "u-1 is Ada, ada@example.org."}
    assert template.tags == agent_tags("tutor", "school", "u-1")


def test_a_template_has_the_model_it_is_given() -> None:
    assert to_template(AgentType(id="tutor"), ADA, "the first").model == "the first"


def test_an_agents_name_does_not_tell_its_user() -> None:
    template = to_template(TUTOR, ADA, "openai/gpt-4o-mini")

    assert template.name.startswith("tutor-")
    assert template.tags[2].removeprefix("gw-user:").startswith(template.name.removeprefix("tutor-"))


@pytest.mark.parametrize("system", [None, ""])
def test_without_a_system_prompt_letta_has_its_own(system: str | None) -> None:
    assert to_template(AgentType(id="tutor", model="m", system=system), ADA, "m").system is None


def test_without_a_memory_there_are_the_usual_blocks() -> None:
    assert to_template(AgentType(id="tutor", model="m"), ADA, "m").blocks == DEFAULT_MEMORY


def test_with_an_empty_memory_there_are_no_blocks() -> None:
    assert to_template(AgentType(id="tutor", model="m", memory={}), ADA, "m").blocks == {}


def tutor(**changes: Any) -> AgentType:
    fields: dict[str, Any] = {"id": "tutor", "model": "m", "system": "s", "tools": ("a", "b"), "memory": {"human": "h"}}
    return AgentType(**fields | changes)


def kept(agent_type: AgentType, user: User = ADA) -> dict[str, Any]:
    return applied(to_template(agent_type, user, agent_type.model or "the first").metadata)


CHANGES = {
    "system": tutor(system="t"),
    "no system": tutor(system=None),
    "model": tutor(model="n"),
    "tools": tutor(tools=("a",)),
    "a model that stands in": tutor(model=None),
    "no tools": tutor(tools=()),
    "tools split otherwise": tutor(tools=("ab",)),
}
NO_CHANGES = {
    "memory": tutor(memory={"human": "i", "persona": "p"}),
    "name": tutor(name="Tutor"),
    "description": tutor(description="d"),
    "reasoning": tutor(reasoning="hidden"),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES.keys())
def test_what_living_agents_are_given_changes_the_fingerprint(changed: AgentType) -> None:
    assert kept(changed)["template"] != kept(tutor())["template"]


@pytest.mark.parametrize("changed", NO_CHANGES.values(), ids=NO_CHANGES.keys())
def test_what_living_agents_are_not_given_does_not_change_the_fingerprint(changed: AgentType) -> None:
    assert kept(changed) == kept(tutor())


def test_the_fingerprint_is_the_same_for_every_user() -> None:
    agent_type = tutor(system="You teach {user_name}.")

    assert kept(agent_type, User("work", "u-2", "Bob"))["template"] == kept(agent_type)["template"]


def test_the_tools_of_the_template_are_kept_beside_its_fingerprint() -> None:
    assert kept(tutor())["tools"] == ["a", "b"]


NOTHING_KEPT: dict[str, dict[str, Any] | None] = {
    "no metadata": None,
    "empty": {},
    "others' metadata": {"theirs": {"template": "x"}},
    "null": {METADATA_KEY: None},
    "no table": {METADATA_KEY: "x"},
}


@pytest.mark.parametrize("metadata", NOTHING_KEPT.values(), ids=NOTHING_KEPT.keys())
def test_an_agent_that_was_given_no_template_keeps_nothing(metadata: dict[str, Any] | None) -> None:
    assert applied(metadata) == {}
