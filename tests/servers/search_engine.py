"""A search engine, as Open WebUI asks one of its operator's own: it finds one page, whatever is looked for.

https://docs.openwebui.com/features/web_search/external
"""

from typing import Any

from litestar import Litestar, post
from litestar.params import JSONBody

FOUND = {"link": "https://wombats.example/", "title": "Wombats", "snippet": "A wombat digs for thirty metres."}


class SearchEngine:
    """Its application, and what it was asked for."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.app = Litestar([post("/search", status_code=200)(self._search)], openapi_config=None)

    async def _search(self, data: JSONBody[dict[str, Any]]) -> list[dict[str, str]]:
        self.queries.append(data["query"])
        return [FOUND]
