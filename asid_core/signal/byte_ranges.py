"""A file object over parts of another file, for decoders that accept file objects."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

Part = bytes | tuple[int, int]  # literal bytes, or (start, stop) in the file
CHUNK_BYTES = 1 << 20


class ByteRanges(io.RawIOBase):
    """The concatenated `parts` of `file`, as a read-only, seekable file."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        self._file, self._parts = file, [part for part in parts if size_of(part)]
        self._starts = [0]
        for part in self._parts:
            self._starts.append(self._starts[-1] + size_of(part))
        self._position = self._furthest = 0

    @property
    def left_bytes(self) -> int:
        """Number of bytes behind the last one that was read."""
        return self._starts[-1] - self._furthest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes; all remaining ones if it is negative or None."""
        left = self._starts[-1] - self._position
        left = left if size is None or size < 0 else min(size, left)
        pieces = []
        while left > 0:
            index = bisect.bisect_right(self._starts, self._position) - 1
            within = self._position - self._starts[index]
            data = self._part(self._parts[index], within, left)
            if not data:
                break
            pieces.append(data)
            left -= len(data)
            self._position += len(data)
        self._furthest = max(self._furthest, self._position)
        return b"".join(pieces)

    def _part(self, part: Part, within: int, size: int) -> bytes:
        if isinstance(part, bytes):
            return part[within : within + size]
        self._file.seek(part[0] + within)
        return self._file.read(min(size, part[1] - part[0] - within))

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # libsndfile gives a cffi buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def size_of(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read up to `size` bytes from `offset`."""
    file.seek(offset)
    return file.read(size)


def find_all(file: BinaryIO, start: int, signature: bytes) -> Iterator[int]:
    """Offsets of `signature` from `start` on. Reads a megabyte at a time."""
    base, kept = start, b""
    file.seek(start)
    while data := file.read(CHUNK_BYTES):
        resume = file.tell()
        buffer = kept + data
        at = buffer.find(signature)
        while at >= 0:
            yield base + at
            at = buffer.find(signature, at + 1)
        kept = buffer[-(len(signature) - 1) :]
        base += len(buffer) - len(kept)
        file.seek(resume)
