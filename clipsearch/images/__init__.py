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
from clipsearch.images.metadata import taken_at
from clipsearch.images.opening import open_picture, read_whole, shown
from clipsearch.images.thumbnails import small_picture, thumbnail

__all__ = [
    "DECODER",
    "EXTENSIONS",
    "HASH_BYTES",
    "MAX_PIXELS",
    "DecodedImage",
    "ImageFile",
    "Signature",
    "Skipped",
    "content_hash",
    "decode",
    "decode_file",
    "discover",
    "hash_of",
    "open_picture",
    "read_whole",
    "shown",
    "signature",
    "small_picture",
    "taken_at",
    "thumbnail",
]
