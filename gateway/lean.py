"""`LeanLitestar`: Litestar with nothing but what the gateway uses of it."""

from litestar import Litestar
from litestar.plugins import PluginProtocol


class LeanLitestar(Litestar):
    """A Litestar that knows no models of pydantic's and attrs': there are none here, and both are dear to import.

    Of itself it imports them wherever they are installed, as they are with letta-client and aiohttp.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins
