"""Pictures for tests: real ones, made on the spot, and the names by which a test tells them apart."""

import base64
import random
import struct
import zlib
from hashlib import sha256
from typing import Any, NamedTuple

# Of one pixel each, with nothing in them to tell them from others of their kind.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJDRENDg8QEBEQCgwSExIQ"
    "Ew8QEBD/yQALCAABAAEBAREA/8wABgAQEAX/2gAIAQEAAD8A0s8g/9k="
)


class Picture(NamedTuple):
    data: bytes
    media_type: str = "image/png"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"

    @property
    def part(self) -> dict[str, Any]:
        """The picture as a part of a message, in OpenAI's words."""
        return {"type": "image_url", "image_url": {"url": self.url}}

    @property
    def name(self) -> str:
        return name_of(self.url)


def name_of(url: str) -> str:
    """Tells the pictures of data URLs apart."""
    head, _, data = url.partition(";base64,")
    return f"[{head.removeprefix('data:')} {sha256(data.encode()).hexdigest()[:8]}]"


def picture(width: int = 4, height: int = 4, noise: bool = False) -> Picture:
    """One that nobody has seen before: of one colour, or of `noise`, which takes three bytes a pixel."""
    colour = random.randbytes(3) * width
    lines = b"".join(b"\0" + (random.randbytes(3 * width) if noise else colour) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b"")
    return Picture(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
