"""What Python's libraries do with the Responses API, each in the smallest program; prints a line of JSON for each.

Runs in the environment of the client libraries, with the gateway at `GATEWAY_URL`: nothing of the gateway is importable
here.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import agents
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, NotFoundError, OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

ADDRESS: dict[str, Any] = {"base_url": f"{os.environ['GATEWAY_URL']}/v1", "api_key": os.environ["GATEWAY_KEY"]}
WHO: dict[str, Any] = {"model": "letta", "user": "ada"}
ASKS, NAMES, FORMED = "How is the weather in Oslo?", "My name is Ada.", '!say {"city": "Oslo"}'
client = OpenAI(**ADDRESS, max_retries=0)


class Place(BaseModel):
    city: str


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def openai_goes_on() -> list[str]:
    first = client.responses.create(input=NAMES, **WHO)
    second = client.responses.create(input="What is my name?", previous_response_id=first.id, **WHO)
    return [first.output_text, second.output_text]


def openai_streams() -> list[str]:
    with client.responses.stream(input="Hello!", **WHO) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        return ["".join(deltas), stream.get_final_response().output_text]


def openai_parses() -> str:
    parsed = client.responses.parse(input=FORMED, text_format=Place, **WHO).output_parsed
    return parsed.city if parsed else ""


def openai_comes_back() -> list[str | None]:
    begun = client.responses.create(input="Hello!", background=True, **WHO)
    *_, last = client.responses.retrieve(begun.id, stream=True)
    shown = client.responses.retrieve(begun.id)
    items = [item.type for item in client.responses.input_items.list(begun.id)]
    return [last.type, shown.status, shown.output_text, *items]


def openai_cancels() -> list[str | None]:
    begun = client.responses.create(input=f"!slow 100\n!say {'word ' * 100}", background=True, **WHO)
    return [client.responses.cancel(begun.id).status, client.responses.retrieve(begun.id).status]


def openai_deletes() -> str:
    id = client.responses.create(input="Hello!", **WHO).id
    client.responses.delete(id)
    try:
        return str(client.responses.retrieve(id).status)
    except NotFoundError as error:
        return str(error.code)


def openai_calls() -> str:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools: Any = [{"type": "function", "name": "weather", "parameters": parameters, "strict": False}]
    first = client.responses.create(input=ASKS, tools=tools, **WHO)
    (call,) = (item for item in first.output if item.type == "function_call")
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": weather("Oslo")}]
    return client.responses.create(input=output, previous_response_id=first.id, tools=tools, **WHO).output_text


def openai_agents() -> list[str]:
    agents.set_tracing_disabled(True)
    agents.set_default_openai_client(AsyncOpenAI(**ADDRESS, max_retries=0), use_for_tracing=False)
    settings = agents.ModelSettings(extra_args={"user": "ada"})
    agent = agents.Agent(name="Letta", model="letta", tools=[agents.function_tool(weather)], model_settings=settings)
    placed = agents.Agent(name="Letta", model="letta", output_type=Place, model_settings=settings)

    async def ask() -> list[str]:
        first = await agents.Runner.run(agent, ASKS)
        on = await agents.Runner.run(agent, "And now?", previous_response_id=first.last_response_id)
        told = await agents.Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "Thanks!"}])
        streamed = agents.Runner.run_streamed(agent, ASKS)
        async for _ in streamed.stream_events():
            pass
        city = (await agents.Runner.run(placed, FORMED)).final_output.city
        return [first.final_output, on.final_output, told.final_output, streamed.final_output, city]

    return asyncio.run(ask())


def pydantic_ai() -> list[str]:
    model = OpenAIResponsesModel("letta", provider=OpenAIProvider(**ADDRESS))
    settings = OpenAIResponsesModelSettings(openai_user="ada")
    agent = Agent(model, model_settings=settings, tools=[weather])
    first = agent.run_sync(ASKS)
    told = agent.run_sync("Thanks!", message_history=first.all_messages())
    id = told.response.provider_response_id or ""
    on = agent.run_sync("And now?", model_settings=OpenAIResponsesModelSettings(openai_previous_response_id=id))
    formed = Agent(model, model_settings=settings, output_type=NativeOutput(Place)).run_sync(FORMED).output.city
    called = Agent(model, model_settings=settings, output_type=Place).run_sync("It rains in Oslo.").output.city
    return [first.output, str(first.response.thinking), told.output, on.output, formed, called]


def langchain() -> list[str]:
    model = ChatOpenAI(use_responses_api=True, max_retries=0, model="letta", model_kwargs={"user": "ada"}, **ADDRESS)
    streamed = "".join(piece.text for piece in model.stream("Hello!"))
    formed = model.with_structured_output(Place).invoke(FORMED)
    on = model.model_copy(update={"use_previous_response_id": True})
    messages: list[Any] = [HumanMessage(NAMES)]
    messages += [on.invoke(messages), HumanMessage("What is my name?")]
    unkept = model.model_copy(update={"store": False, "include": ["reasoning.encrypted_content"]})
    return [streamed, formed.city, on.invoke(messages).text, _calls(model), _calls(unkept)]  # type: ignore[union-attr]


def _calls(model: ChatOpenAI) -> str:
    bound, shown = model.bind_tools([tool(weather)]), tool(weather)
    messages: list[Any] = [HumanMessage(ASKS)]
    messages.append(bound.invoke(messages))
    messages += [shown.invoke(call) for call in messages[-1].tool_calls]
    return bound.invoke(messages).text


SCENARIOS: list[Callable[[], object]] = [
    *(openai_goes_on, openai_streams, openai_parses, openai_comes_back, openai_cancels, openai_deletes, openai_calls),
    *(openai_agents, pydantic_ai, langchain),
]
for scenario in SCENARIOS:
    print(json.dumps({scenario.__name__: scenario()}), flush=True)
