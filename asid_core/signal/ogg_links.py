"""The links of a chained Ogg file (RFC 3533, section 4): consecutive streams, as recorded from web radio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from asid_core.signal.byte_ranges import find_all, read_at

CAPTURE = b"OggS"
BEGIN, UNKNOWN = 2, -1
HEADER_BYTES = 27
MAX_PAGE_S = 5


@dataclass
class Link:
    """One link: the pages from one group of first pages to the next."""

    start: int
    stop: int
    rate_hz: int = 0  # granules per second; 0 if the codec is unknown
    first_granule: int = UNKNOWN
    last_granule: int = UNKNOWN
    damaged: bool = False

    def count(self, page: bytes, header_bytes: int) -> None:
        """Count a page, given its header and at least the beginning of its body."""
        if page[5] & BEGIN:
            self.rate_hz = self.rate_hz or granule_rate_hz(page[header_bytes:])
        granule = int.from_bytes(page[6:14], "little", signed=True)
        if granule > 0 and self.rate_hz:
            self.last_granule = granule
            self.first_granule = granule if self.first_granule == UNKNOWN else self.first_granule

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.stop

    @property
    def duration_s(self) -> float | None:
        """Duration by granule positions, which mark the ends of pages and do not start at 0 in recorded streams."""
        if not self.rate_hz or self.last_granule < self.first_granule:
            return None
        first = self.first_granule if self.first_granule > MAX_PAGE_S * self.rate_hz else 0
        return (self.last_granule - first) / self.rate_hz

    @property
    def claim_s(self) -> float | None:
        """The expected duration if a page is damaged; otherwise None."""
        return self.duration_s if self.damaged else None


def links(file: BinaryIO, start: int, end: int) -> tuple[list[Link], int]:
    """The links between `start`, where a page begins, and `end`; and the offset after the last complete page."""
    result: list[Link] = []
    at = stop = start
    beginning = False
    while at + HEADER_BYTES <= end:
        header = read_at(file, at, HEADER_BYTES + 255 + 64)
        segments = header[26] if header[:4] == CAPTURE and not header[4] else 0
        size = HEADER_BYTES + segments + sum(header[HEADER_BYTES : HEADER_BYTES + segments])
        if not segments and header[:4] != CAPTURE or at + size > end:
            at = next(find_all(file, at + 1, CAPTURE), end)
            continue
        first = bool(header[5] & BEGIN)
        if not result or (first and not beginning):
            result.append(Link(at, end))
            if len(result) > 1:
                result[-2].stop = at
        beginning = first
        result[-1].damaged |= at != stop
        result[-1].count(header, HEADER_BYTES + segments)
        at = stop = at + size
    return result, stop


def granule_rate_hz(packet: bytes) -> int:
    """Granules per second, from a stream's first packet (Vorbis, Opus, FLAC, Speex); 0 for another codec."""
    if packet.startswith(b"\x01vorbis"):
        return int.from_bytes(packet[12:16], "little")
    if packet.startswith(b"OpusHead"):
        return 48_000
    if packet.startswith(b"\x7fFLAC"):
        return int.from_bytes(packet[27:30], "big") >> 4
    return int.from_bytes(packet[36:40], "little") if packet.startswith(b"Speex   ") else 0
