"""The pictures that a query shows, from the disk or the web.

In: a probe. Out: its picture, or QueryError. Knows nothing of models.
"""

from __future__ import annotations

import re
from io import BytesIO

from clipsearch.errors import ImageError, QueryError
from clipsearch.images import MAX_PIXELS, DecodedImage, decode, decode_file
from clipsearch.probes import ImageProbe, UrlProbe
from clipsearch.query.known import reachable, unusable
from clipsearch.settings import Settings
from clipsearch.wording import quoted


def decoded(probe: ImageProbe | UrlProbe, input_px: int, settings: Settings) -> DecodedImage:
    """As the indexer reads it, so that a picture and its copy in the library have one vector."""
    max_pixels = settings.max_pixels or MAX_PIXELS
    try:
        if isinstance(probe, ImageProbe):
            return decode(reachable(probe.path), input_px, max_pixels)
        content = BytesIO(_content(probe.url, settings))
        return decode_file(content, _shown(probe.url), input_px, max_pixels)
    except ImageError as error:
        raise unusable(error) from error


def _content(url: str, settings: Settings) -> bytes:
    if settings.offline or not settings.fetch_urls:
        switch = "CLIPSEARCH_OFFLINE" if settings.offline else "CLIPSEARCH_FETCH_URLS"
        raise QueryError(
            f"{_shown(url)} is not fetched, because {switch} forbids it: save the picture and "
            "give its path"
        )
    from clipsearch.fetching import Unfetched, fetch

    try:
        return fetch(url)
    except Unfetched as error:
        raise QueryError(
            f"the picture {_shown(url)} cannot be fetched ({error}): check the address, or "
            "save the picture and give its path"
        ) from error


def _shown(url: str) -> str:
    """For a message: without a name and password."""
    return quoted(re.sub(r"//[^/?#]*@", "//", url), 100)
