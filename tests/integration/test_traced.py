"""The trace of a chat, from a real Letta to a receiver as collectors have one."""

from pathlib import Path

from tests.gateways import KEY, ForkedGateway, chat, http
from tests.servers.otlp import received_traces, to_tree
from tests.test_smoke import NO_PROVIDER, WEATHER

CONFIG = """
[letta]
upstream = "embedded"
state = "{state}"

[traces]
endpoint = "{endpoint}"

[[agent_types]]
id = "tutor"

[[keys]]
name = "programs"
key = "{key}"
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BOTH = '!tool memory_insert {"label": "human", "new_string": "A secret."}\n!tool weather {"city": "a secret"}'


def test_a_chat_with_a_tool_of_letta_s_and_one_of_the_client_s_is_one_trace(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    with received_traces() as receiver:
        config.write_text(CONFIG.format(state=tmp_path / "state", endpoint=receiver.endpoint, key=KEY))
        with ForkedGateway(config, **NO_PROVIDER) as process, http(process.base_url) as client:
            asked = chat(BOTH, user="secret-user", tools=[WEATHER], metadata={"chat_id": "secret-chat"})
            trace = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            answer = client.post("/v1/chat/completions", json=asked, headers=trace).json()
            assert process.stop() == 0
    turn = next(span for span in receiver.spans if span.name == "invoke_agent tutor")
    tools = {span.name: span for span in receiver.spans if span.parent == turn.id}

    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert (turn.trace, turn.parent, len(receiver.spans)) == (TRACE, PARENT, 3), to_tree(receiver.spans)
    assert tools.keys() == {"execute_tool memory_insert", "execute_tool weather"}
    kinds = {name: tool.attributes["gen_ai.tool.type"] for name, tool in tools.items()}
    assert kinds == {"execute_tool memory_insert": "extension", "execute_tool weather": "function"}
    assert not any(span.failed for span in receiver.spans)
    assert turn.attributes["gen_ai.agent.id"].startswith("agent-")
    assert turn.attributes["gen_ai.conversation.id"]
    assert turn.attributes["gen_ai.usage.input_tokens"] > 0
    assert "secret" not in repr(receiver.spans).lower()
