"""Bodies of requests for responses, and what is made of them."""

from typing import Any

import msgspec

from gateway.domain.request import Request
from gateway.wires.responses.read import to_request
from gateway.wires.responses.request import ResponsesRequest, decode_request

Json = dict[str, Any]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def body(input: Any = "Hello", **fields: Any) -> bytes:
    return msgspec.json.encode({"model": "tutor", "input": input, **fields})


def decoded(input: Any = "Hello", **fields: Any) -> ResponsesRequest:
    return decode_request(body(input, **fields))


def asked(input: Any = "Hello", **fields: Any) -> Request:
    """The neutral request of a body."""
    return to_request(decoded(input, **fields))


def said(text: Any, role: str = "user", **more: Any) -> Json:
    return {"role": role, "content": text, **more}


def answered(text: str, id: str = "msg_1", **more: Any) -> Json:
    """An item of an earlier answer, as a client has it of its response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part], **more}


def called(call_id: str = "call_1", name: str = "weather", arguments: str = "{}") -> Json:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments}


def returned(call_id: str = "call_1", output: Any = "12 degrees") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def function(name: str = "weather", **more: Any) -> Json:
    return {"type": "function", "name": name, "parameters": {"type": "object"}, **more}


def custom(name: str = "patch", **more: Any) -> Json:
    return {"type": "custom", "name": name, **more}


def namespace(*tools: Json, name: str = "crm", **more: Any) -> Json:
    return {"type": "namespace", "name": name, "description": "Customers.", "tools": [*tools], **more}


def referred(id: str) -> Json:
    return {"type": "item_reference", "id": id}
