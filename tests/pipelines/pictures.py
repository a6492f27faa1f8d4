"""Synthetic pictures in the formats that covers use."""

from __future__ import annotations

import fractions
from typing import Any

import av
import numpy as np

RED = (200, 30, 60)
CODECS = {
    "jpeg": ("mjpeg", "yuvj420p"),
    "png": ("png", "rgb24"),
    "bmp": ("bmp", "bgr24"),
    "webp": ("libwebp", "yuv420p"),
}


def picture(width: int = 400, height: int = 300, kind: str = "jpeg", color: tuple[int, int, int] = RED) -> bytes:
    """A picture of one colour."""
    codec, pixels = CODECS[kind]
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), color, np.uint8), format="rgb24")
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.time_base = fractions.Fraction(1)
    return b"".join(bytes(packet) for packet in encoder.encode(frame.reformat(format=pixels)) + encoder.encode(None))


def pixels_of(jpeg: bytes) -> Any:
    """The pixels [height, width, 3] of a JPEG."""
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    (frame,) = decoder.decode(av.Packet(jpeg)) + decoder.decode(None)
    return frame.to_ndarray(format="rgb24")
