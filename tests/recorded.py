"""The requests of a real Open WebUI, and what the gateway makes of each."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.settings import Key, UserSource

# Its headers were named by the operator.
KEY = Key(
    name="open-webui",
    user_from=(UserSource("header:X-OpenWebUI-User-Id"),),
    default_user="ada",
    task_header="X-T-Task",
    message_id_header="X-T-Msg",
    user_message_id_header="X-T-UserMsg",
    parent_id_header="X-T-UserMsgParent",
)


class Recorded(Struct, frozen=True):
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None

    @property
    def json(self) -> bytes:
        return msgspec.json.encode(self.body)


LINES = (Path(__file__).parent / "recordings" / "open-webui.jsonl").read_text(encoding="utf-8").splitlines()
RECORDED = [msgspec.json.decode(line, type=Recorded) for line in LINES]
# Where a turn goes on, what task a request is, or how it is refused.
DECISIONS = {
    "01-models-list-GET": "models",
    "02-title-task-sent-BEFORE-first-chat-turn": "task: title_generation",
    "03-first-message-no-custom-headers": "start",
    "04-first-message-templated-headers": "start",
    "05-follow_up-task": "task: follow_up_generation",
    "06-tags-task": "task: tags_generation",
    "07-second-message": "append",
    "08-before-regenerate": "start",
    "09-regenerate-same-usermsg-new-msgid": "branch",
    "10-regenerate-with-suggested-change": "branch",
    "11-edited-2nd-user-message": "branch",
    "12-edited-FIRST-user-message-same-chat-id": "start",
    "13-third-message-on-edited-branch": "append",
    "14-continue-response-last-role-assistant": "branch",
    "15-stop-client-closed": "start",
    "16-after-stop-next-message": "append",
    "17-stop-before-first-byte": "start",
    "18-default-36-builtin-tools-and-tab-closed-still-streams": "start",
    "19-image-upload": "start",
    "20-message-after-image": "append",
    "21-query_generation-task-file-upload": "task: query_generation",
    "22-file-upload-RAG-real-turn-starts-with-Task-prefix": "start",
    "23-temporary-chat-first": "start",
    "24-temporary-chat-second": "append",
    "25-system-prompt-in-chat-controls": "start",
    "26-second-user-unicode-name": "start",
    "27-tool_calls-deltas-cause-automatic-second-POST": "start",
    "28-orphan-function_call-item-automatic-second-POST": "start",
    "29-history-after-mixed-think+tool-items": "start",
    "30-history-after-details-tool-block": "start",
    "31-history-after-details-reasoning-block": "start",
    "32-history-after-stop-inside-think": "start",
    "33-llamacpp-provider-history-reasoning_content": "start",
    "34-llamacpp-provider-history-mixed": "start",
    "35-multi-model-A": "start",
    "36-multi-model-B": "start",
    "37-cloned-chat-new-chat-id-with-history": "start",
    "38-queued-message-after-stop": "start",
    "39-autocomplete-task": "task: autocomplete_generation",
    "40-emoji-task": "task: emoji_generation",
    "41-image_prompt-task": "task: image_prompt_generation",
    "42-moa-task": "task: moa_response_generation",
    "43-forward-flag-off": "start",
    "44-signed-user-jwt": "start",
    "45-workspace-model-system-prompt": "start",
    "46-responses-api-type": "response",
    "47-owui-own-API-no-chat_id": "start",
    "48-owui-own-API-user-and-params": "start",
    "49-pipelines-model-filter-inlet": "404",
    "50-pipelines-model-chat-user-object": "400: user",
    "51-pipelines-model-filter-outlet": "404",
    "52-responses-api-second-turn-browser": "response",
}
