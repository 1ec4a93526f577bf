"""Pictures as data URLs: reads and checks them, and makes them of fetched bytes. Performs no I/O.

https://developers.openai.com/api/docs/guides/images-vision
"""

import binascii
import re

from gateway.domain.messages import Image, image_of
from gateway.domain.request import ShownPicture, Unusable

DETAILS = ("auto", "low", "high")
MEGABYTE = 1024 * 1024
# https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern
SIGNATURES: dict[str, re.Pattern[bytes]] = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBPVP", re.DOTALL),
}
# https://www.rfc-editor.org/rfc/rfc2397
_DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.-]+=[\w.-]+)*;base64,", re.IGNORECASE | re.ASCII)


def to_image(shown: ShownPicture, max_mb: int) -> Image | Unusable:
    """The picture of a data URL of at most `max_mb` MiB; `Unusable`, with the problem, if it cannot be read."""
    try:
        media_type, data = _read(shown.url, max_mb)
    except ValueError as error:
        return Unusable(shown.place, str(error), is_picture=True)
    if shown.detail is not None and shown.detail not in DETAILS:
        place = f"{shown.place.removesuffix('.url')}.detail"
        return Unusable(place, f"expected one of {', '.join(DETAILS)}", is_picture=True)
    return image_of(media_type, data, shown.detail)


def to_data_url(picture: bytes) -> str:
    """The data URL of a picture's bytes. Raises ValueError, whose text is the problem, for any other bytes."""
    return f"data:{_media_type(picture)};base64,{_encode(picture)}"


def _read(url: str, max_mb: int) -> tuple[str, str]:
    """Media type and base64 of the picture in a data URL. Raises ValueError, whose text is the problem."""
    if re.match("https?:", url, re.IGNORECASE):
        raise ValueError(
            "this gateway fetches no pictures (its operator can allow it with `[images] fetch = true`): "
            "expected a data URL, `data:image/png;base64,…`"
        )
    head = _DATA_URL.match(url)
    if not head:
        raise ValueError("expected a data URL of a picture, `data:image/png;base64,…`")
    # Base64 writes three bytes as four characters: the size is checked before anything is decoded.
    if (len(url) - head.end()) * 3 // 4 > max_mb * MEGABYTE + 2:
        raise ValueError(f"the picture is larger than {max_mb} MB")
    picture = _decode(url[head.end() :])
    if len(picture) > max_mb * MEGABYTE:
        raise ValueError(f"the picture is larger than {max_mb} MB")
    return _media_type(picture), _encode(picture)


def _decode(text: str) -> bytes:
    """The bytes of a base64 text. Raises ValueError if it is invalid or empty."""
    try:
        picture = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("the picture is not valid base64") from None
    if not picture:
        raise ValueError("the picture is empty")
    return picture


def _encode(picture: bytes) -> str:
    return binascii.b2a_base64(picture, newline=False).decode()


def _media_type(picture: bytes) -> str:
    """The media type of a picture, by its first bytes. Raises ValueError for none of SIGNATURES.

    The type in its URL is not believed: frontends go by the name of the file.
    """
    found = next((kind for kind, signature in SIGNATURES.items() if signature.match(picture)), None)
    if found is None:
        raise ValueError("the picture is no PNG, JPEG, GIF or WebP")
    return found
