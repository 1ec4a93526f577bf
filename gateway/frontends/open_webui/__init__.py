"""Open WebUI: its headers, the prompts of its tasks, and what it puts into messages and answers."""

# https://docs.openwebui.com/reference/env-configuration#enable_forward_user_info_headers
NAME_HEADER = "x-openwebui-user-name"
EMAIL_HEADER = "x-openwebui-user-email"
CHAT_HEADER = "x-openwebui-chat-id"
# https://github.com/open-webui/open-webui: the id of a chat that is not kept begins so.
TEMPORARY_CHAT = "temporary:"
