"""Background tasks: what a frontend asks for behind its person's back, such as a title. Performs no I/O."""

from msgspec import Struct

# The kinds of tasks, in the words of Open WebUI's header:
# https://github.com/open-webui/open-webui, backend/open_webui/constants.py
TITLE = "title_generation"
TAGS = "tags_generation"
FOLLOW_UPS = "follow_up_generation"
QUERIES = "query_generation"
AUTOCOMPLETE = "autocomplete_generation"
EMOJI = "emoji_generation"
IMAGE_PROMPT = "image_prompt_generation"
MERGE = "moa_response_generation"
FUNCTIONS = "function_calling"
COMPACTION = "context_compaction"
MEMORY_REVIEW = "memory_review"
# qwen-code's; it is answered with nothing.
MEMORY_EXTRACTION = "memory_extraction"
TASK_KINDS = frozenset(
    {
        *(TITLE, TAGS, FOLLOW_UPS, QUERIES, AUTOCOMPLETE, EMOJI, IMAGE_PROMPT, MERGE, FUNCTIONS, COMPACTION),
        *(MEMORY_REVIEW, MEMORY_EXTRACTION),
    }
)


class Task(Struct, frozen=True):
    """A background task: `Task(TITLE)`."""

    kind: str
    """One of the kinds above; any other is answered with an empty text."""
    in_json: bool = True
    """True: its answer is read as a JSON object, where the kind has one."""
