"""The front cover in a file's tags, as a small JPEG.

Called only in the tag reader's child process, because pictures come from anywhere and FFmpeg decodes them.
"""

from __future__ import annotations

import base64
import contextlib
import fractions
import struct
from collections.abc import Iterator
from typing import Any

SIDE = 128  # pixels, the longer side of a thumbnail; shown at half of that
PICTURE_BYTES = 16 << 20  # larger pictures are left out
PICTURE_PIXELS = 36_000_000
FRONT_COVER = 3  # ID3v2.4 frames, section 4.14; FLAC, Vorbis comments and ASF use the same numbers
APE_FRONT_COVER = "cover art (front)"
# FFmpeg's decoder by the first bytes of a picture
DECODERS = ((b"\xff\xd8\xff", "mjpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"BM", "bmp"), (b"RIFF", "webp"))
Picture = tuple[int, bytes]  # its type and its data


def front_cover(opened: Any) -> bytes | None:
    """A JPEG of at most SIDE x SIDE pixels of the front cover, else of the first picture; None if there is none.

    opened: what `mutagen.File` returned. Raises whatever mutagen and FFmpeg raise for damaged pictures.
    """
    pictures = [(kind, data) for kind, data in _pictures(opened) if 0 < len(data) <= PICTURE_BYTES]
    if not pictures:
        return None
    return thumbnail(min(pictures, key=lambda picture: picture[0] != FRONT_COVER)[1])


def _pictures(opened: Any) -> Iterator[Picture]:
    """All pictures in the tags of any container."""
    for picture in getattr(opened, "pictures", ()):  # FLAC
        yield picture.type, picture.data
    tags = opened.tags
    if hasattr(tags, "getall"):  # ID3
        for frame in tags.getall("APIC"):
            yield frame.type, frame.data
        return
    for name, value in tags.items() if hasattr(tags, "items") else tags:
        for one in value if isinstance(value, list) else [value]:
            with contextlib.suppress(ValueError, struct.error):  # one damaged picture may be followed by a good one
                yield from _tagged_picture(name.lower(), one)


def _tagged_picture(name: str, value: Any) -> Iterator[Picture]:
    """The picture in a tag of a Vorbis comment, MP4, APE or ASF; nothing for other tags."""
    if name == "metadata_block_picture":  # https://xiph.org/flac/format.html#metadata_block_picture
        from mutagen.flac import Picture as FlacPicture

        picture = FlacPicture(base64.b64decode(value))
        yield picture.type, picture.data
    elif name == "covr":
        yield FRONT_COVER, bytes(value)
    elif name == APE_FRONT_COVER:  # a file name, a zero byte, the picture
        yield FRONT_COVER, bytes(value.value).partition(b"\0")[2]
    elif name == "wm/picture":  # type, length, MIME type and description in UTF-16, the picture
        kind, size = struct.unpack("<BI", value.value[:5])
        yield kind, value.value[len(value.value) - size :]


def thumbnail(data: bytes) -> bytes | None:
    """A picture (JPEG, PNG, BMP, WebP) as a JPEG of at most SIDE x SIDE pixels; None for another format.

    Raises av.error.FFmpegError for a damaged picture and for one of more than PICTURE_PIXELS.
    """
    import av

    name = next((name for signature, name in DECODERS if data.startswith(signature)), None)
    if name is None:
        return None
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.options = {"max_pixels": str(PICTURE_PIXELS)}
    frame = (decoder.decode(av.Packet(data)) + decoder.decode(None))[0]
    scale = min(1.0, SIDE / max(frame.width, frame.height))
    width, height = (max(1, round(scale * side)) for side in (frame.width, frame.height))
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = fractions.Fraction(1)
    packets = encoder.encode(frame.reformat(width, height, "yuvj420p")) + encoder.encode(None)
    return b"".join(bytes(packet) for packet in packets)
