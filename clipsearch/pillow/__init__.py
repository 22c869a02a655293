"""What every part that takes Pillow images needs: any picture as a viewer shows it, and silence.

Below the engines, because two of them take pictures: `images` from files, `clip` from whoever
calls it. Knows nothing of either.
"""

from clipsearch.pillow.colour import is_deep_grey, to_rgb
from clipsearch.pillow.quiet import PILLOW_ERRORS, quiet_pillow
from clipsearch.pillow.upright import as_shown, exif_tag, orientation, reason, upright_rgb

__all__ = [
    "PILLOW_ERRORS",
    "as_shown",
    "exif_tag",
    "is_deep_grey",
    "orientation",
    "quiet_pillow",
    "reason",
    "to_rgb",
    "upright_rgb",
]
