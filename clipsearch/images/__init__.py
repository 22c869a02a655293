"""Pictures on disk: find them, open them whatever they are, fingerprint them.

Knows nothing of models, vectors or databases.
"""

from clipsearch.images.decode import DECODER, MAX_PIXELS, DecodedImage, decode, decode_file
from clipsearch.images.discover import (
    EXTENSIONS,
    ImageFile,
    Signature,
    Skipped,
    discover,
    signature,
)
from clipsearch.images.fingerprint import HASH_BYTES, content_hash, hash_of
from clipsearch.images.header import read_details
from clipsearch.images.metadata import DETAILS_VERSION, Details, details
from clipsearch.images.opening import open_picture, read_whole, shown
from clipsearch.images.thumbnails import small_picture, thumbnail

__all__ = [
    "DECODER",
    "DETAILS_VERSION",
    "EXTENSIONS",
    "HASH_BYTES",
    "MAX_PIXELS",
    "DecodedImage",
    "Details",
    "ImageFile",
    "Signature",
    "Skipped",
    "content_hash",
    "decode",
    "decode_file",
    "details",
    "discover",
    "hash_of",
    "open_picture",
    "read_details",
    "read_whole",
    "shown",
    "signature",
    "small_picture",
    "thumbnail",
]
