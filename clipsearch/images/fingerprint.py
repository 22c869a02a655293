"""Tell files apart by what is in them.

In: a path. Out: a digest of the whole content. Knows nothing of pictures.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from clipsearch.errors import UnreadableImage
from clipsearch.images.opening import open_picture, shown

# 128 bits: among a hundred million files two equal digests by chance are a matter of 1 in 10^22.
HASH_BYTES = 16
_CHUNK_BYTES = 1 << 20


def hash_of(content: bytes) -> bytes:
    """The `content_hash` of a file that holds these bytes."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def content_hash(path: Path) -> bytes:
    """BLAKE2b of every byte of the file, HASH_BYTES long. Raises UnreadableImage."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    with open_picture(path) as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnreadableImage(
                f"{shown(path.name)} cannot be read to its end ({reason}); check the drive"
            ) from error
    return digest.digest()
