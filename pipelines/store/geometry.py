"""How a catalogue's segments are cut: what catalogue.json says, and who can use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from pipelines.store.errors import CatalogueError
from pipelines.store.files import damaged, read_json
from pipelines.store.location import Location

FORMAT = 2  # of a new catalogue; 1 had no tags (tags.py), and is read and written as it is
OLDEST = 1


@dataclass(frozen=True)
class Geometry:
    """Cores of `core_samples`, side by side, each with `margin_samples` of its neighbours' audio on either side."""

    core_samples: int
    margin_samples: int
    format: int = FORMAT
    head: Location | None = None  # the catalogue.json that says so

    @classmethod
    def of(cls, config: SegmentConfig) -> Geometry:
        """What a config asks for."""
        return cls(round(config.core_s * SAMPLE_RATE_HZ), round(config.margin_s * SAMPLE_RATE_HZ))

    @classmethod
    def read(cls, head: Location) -> Geometry:
        """That of a catalogue.json. Raises CatalogueError where it is damaged or too new."""
        values = read_json(head)
        number: Any = values.get("format")
        if isinstance(number, int) and number > FORMAT:
            raise CatalogueError(
                f"{head} has format {number}, but this asid reads formats up to {FORMAT}. Install a newer asid."
            )
        if number not in range(OLDEST, FORMAT + 1):
            raise damaged(head, f"format {number!r}")
        core: Any = values.get("core_samples")
        margin: Any = values.get("margin_samples")
        try:  # the ranges are those of the settings
            SegmentConfig(core_s=core / SAMPLE_RATE_HZ, margin_s=margin / SAMPLE_RATE_HZ)
        except (TypeError, ValueError) as error:
            raise damaged(head, f"core_samples {core!r}, margin_samples {margin!r}") from error
        return cls(core, margin, number, head)

    def to_json(self) -> bytes:
        """What `read` reads."""
        samples = {"core_samples": self.core_samples, "margin_samples": self.margin_samples}
        return json.dumps({"format": self.format, "sample_rate_hz": SAMPLE_RATE_HZ, **samples}, indent=2).encode()

    @property
    def _seconds(self) -> tuple[float, float]:
        return self.core_samples / SAMPLE_RATE_HZ, self.margin_samples / SAMPLE_RATE_HZ

    def check(self, config: SegmentConfig) -> None:
        """Raises CatalogueError where a config asks for another core or margin."""
        wanted = Geometry.of(config)
        if (wanted.core_samples, wanted.margin_samples) != (self.core_samples, self.margin_samples):
            core_s, margin_s = self._seconds
            raise CatalogueError(
                f"{self.head} has segments of {core_s:g} s with margins of {margin_s:g} s, but the config has "
                f"{config.core_s:g} s and {config.margin_s:g} s. Add --set segment.core_s={core_s:g} "
                f"--set segment.margin_s={margin_s:g}, or make a new catalogue."
            )

    def check_windows(self, window_frames: int, hop_samples: int) -> None:
        """Raises CatalogueError where a model of these windows cannot use these segments.

        A window that starts in a core and reaches beyond the margin would have no fingerprint, and nobody would hear of
        it; a core of no whole number of frames would move the windows behind it.
        """
        if window_frames * hop_samples > self.margin_samples or self.core_samples % hop_samples:
            raise CatalogueError(
                f"this model has windows of {window_frames * hop_samples / SAMPLE_RATE_HZ:g} s and frames of "
                f"{hop_samples} samples; the segments of {self.head} do not hold them: their core is "
                f"{self.core_samples} samples, their margin {self._seconds[1]:g} s. Make a new catalogue for it."
            )
