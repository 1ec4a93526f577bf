"""Pictures of requests: data URLs that are read, and those that are refused, by name and without a word of them."""

import base64
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Image
from gateway.domain.request import ShownPicture, Unusable
from gateway.pictures.data_urls import to_data_url, to_image
from tests.pictures.drawn import GIF, JPEG, WEBP, Picture, picture

PARAM = "messages[2].content[1]"
PNG = picture()
READ: dict[str, tuple[str, Picture]] = {
    "a PNG": (PNG.url, PNG),
    "a JPEG": (Picture(JPEG, "image/jpeg").url, Picture(JPEG, "image/jpeg")),
    "a GIF": (Picture(GIF, "image/gif").url, Picture(GIF, "image/gif")),
    "a WebP": (Picture(WEBP, "image/webp").url, Picture(WEBP, "image/webp")),
    "an older GIF": (Picture(b"GIF87a", "image/gif").url, Picture(b"GIF87a", "image/gif")),
    "a type in capitals": (f"DATA:IMAGE/PNG;BASE64,{PNG.base64}", PNG),
    "a type with a parameter": (f"data:image/png;name=a.png;base64,{PNG.base64}", PNG),
    "a name that is not quite the type's": (Picture(JPEG, "image/jpg").url, Picture(JPEG, "image/jpeg")),
    "a picture that is none of what its URL says": (Picture(PNG.data, "image/jpeg").url, PNG),
}


def read(url: str, detail: str | None = None) -> Image | Unusable:
    return to_image(ShownPicture(url, f"{PARAM}.image_url.url", detail), max_mb=1)


def seen(url: str, detail: str | None = None) -> Image:
    image = read(url, detail)
    assert isinstance(image, Image)
    return image


@pytest.mark.parametrize(("url", "shown"), READ.values(), ids=READ)
def test_a_picture_is_read_as_what_its_bytes_are(url: str, shown: Picture) -> None:
    image = seen(url)

    assert (image.media_type, image.data, image.detail) == (shown.media_type, shown.base64, None)


@pytest.mark.parametrize("detail", ["auto", "low", "high"])
def test_a_picture_keeps_its_detail(detail: str) -> None:
    assert seen(PNG.url, detail).detail == detail


def test_equal_pictures_have_equal_digests_however_closely_they_are_looked_at() -> None:
    urls = [PNG.url, PNG.url.replace("png", "PNG"), picture().url]
    digests = [seen(url, detail).digest for url in urls for detail in (None, "low")]

    assert len(set(digests[:4])) == 1
    assert len(set(digests)) == 2


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Refused(NamedTuple):
    url: str
    reason: str
    detail: str | None = None
    field: str = "url"


MEGABYTE = 1024 * 1024
REFUSED: dict[str, Refused] = {
    "an address": Refused("https://example.org/secret.png", r"allow it with `\[images\] fetch = true`"),
    "an address of this machine": Refused("http://127.0.0.1:8283/secret.png", "fetches no pictures"),
    "an address in capitals": Refused("HTTPS://example.org/secret.png", "fetches no pictures"),
    "a file": Refused("file:///etc/secret.png", "expected a data URL"),
    "base64 alone": Refused(PNG.base64, "expected a data URL"),
    "nothing": Refused("", "expected a data URL"),
    "a document": Refused(f"data:application/pdf;base64,{b64(b'%PDF-secret')}", "expected a data URL"),
    "a picture that is called a text": Refused(f"data:text/plain;base64,{PNG.base64}", "expected a data URL"),
    "no type": Refused(f"data:;base64,{PNG.base64}", "expected a data URL"),
    "no base64": Refused("data:image/png,secret", "expected a data URL"),
    "another type": Refused(f"data:image/svg+xml;base64,{b64(b'<svg>secret</svg>')}", "no PNG, JPEG, GIF or WebP"),
    "bytes that are no picture": Refused(f"data:image/png;base64,{b64(b'secret' * 9)}", "no PNG, JPEG, GIF or WebP"),
    "a sound in WebP's clothes": Refused(
        f"data:image/webp;base64,{b64(b'RIFF____WAVEfmt ')}", "no PNG, JPEG, GIF or WebP"
    ),
    "an empty one": Refused("data:image/png;base64,", "empty"),
    "no valid base64": Refused("data:image/png;base64,s*cret", "not valid base64"),
    "base64 that is cut": Refused(PNG.url[:-3], "not valid base64"),
    "base64 with spaces": Refused("data:image/png;base64, " + PNG.base64, "not valid base64"),
    "base64 beyond ASCII": Refused(f"{PNG.url}é", "not valid base64"),
    "one byte too many": Refused(Picture(PNG.data.ljust(MEGABYTE + 1, b"x")).url, "larger than 1 MB"),
    "far too many": Refused("data:image/png;base64," + "A" * 2 * MEGABYTE, "larger than 1 MB"),
    "an unknown detail": Refused(PNG.url, "expected one of auto, low, high", "secret", "detail"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_what_is_no_picture_is_refused_by_name(refused: Refused) -> None:
    unusable = read(refused.url, refused.detail)

    assert isinstance(unusable, Unusable)
    assert (unusable.place, unusable.is_picture) == (f"{PARAM}.image_url.{refused.field}", True)
    assert re.search(refused.reason, unusable.problem)
    assert "secret" not in unusable.problem


def test_a_picture_may_be_as_large_as_the_limit() -> None:
    assert seen(Picture(PNG.data.ljust(MEGABYTE, b"x")).url).data


@pytest.mark.parametrize(("url", "shown"), READ.values(), ids=READ)
def test_what_was_fetched_is_read_as_what_its_bytes_are(url: str, shown: Picture) -> None:
    assert seen(to_data_url(shown.data)) == seen(url)


@pytest.mark.parametrize("data", [b"", b"<html>", b"RIFF____WAVEfmt "])
def test_what_was_fetched_and_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no PNG, JPEG, GIF or WebP"):
        to_data_url(data)


@given(st.binary(max_size=64), st.sampled_from([PNG.data[:8], JPEG[:3], GIF[:6], b""]))
def test_whatever_is_in_it_a_picture_is_read_whole_or_refused(rest: bytes, beginning: bytes) -> None:
    data = beginning + rest
    image = read(Picture(data).url)
    if isinstance(image, Unusable):
        assert not beginning
    else:
        assert base64.b64decode(image.data) == data
