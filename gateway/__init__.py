"""Letta Gateway: OpenAI's chat completions and responses, answered by Letta agents."""

__version__ = "0.1.0"
