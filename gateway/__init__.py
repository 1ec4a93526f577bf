"""Letta Gateway: OpenAI chat completions, answered by Letta agents."""

__version__ = "0.1.0"
