"""Open WebUI's additions to the messages of a chat, and the blocks that it makes of answers. Performs no I/O."""

# Blocks that it makes of what an answer was shown with: how each begins, how it ends.
BLOCKS = {
    '<details type="reasoning"': "</details>",
    '<details type="tool_calls"': "</details>",
    '<details type="code_interpreter"': "</details>",
}
# It puts what it found about a question before it, and its files, in one request and not in the next.
# https://docs.openwebui.com/features/rag
CONTEXT_ENDS = ("</context>", "</attached_files>")


def bare_question(question: str) -> str:
    """A question without what was put before it."""
    for end in CONTEXT_ENDS:
        question = question.rpartition(end)[2]
    return question
