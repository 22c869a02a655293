"""Pictures on disk: find them, open them whatever they are, fingerprint them.

Knows nothing of models, vectors or databases.
"""

from clipsearch.images.decode import MAX_PIXELS, DecodedImage, decode, decode_file
from clipsearch.images.discover import EXTENSIONS, ImageFile, Skipped, discover, signature
from clipsearch.images.fingerprint import HASH_BYTES, content_hash
from clipsearch.images.metadata import taken_at
from clipsearch.images.opening import open_picture, shown
from clipsearch.images.thumbnails import thumbnail

__all__ = [
    "EXTENSIONS",
    "HASH_BYTES",
    "MAX_PIXELS",
    "DecodedImage",
    "ImageFile",
    "Skipped",
    "content_hash",
    "decode",
    "decode_file",
    "discover",
    "open_picture",
    "shown",
    "signature",
    "taken_at",
    "thumbnail",
]
