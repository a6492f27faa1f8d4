"""Chooses the `Spectra` of a front end."""

from __future__ import annotations

from asid_core.learning.cqt_spectra import CqtSpectra
from asid_core.learning.filterbank_spectra import LogFrequencySpectra, LogMelSpectra
from asid_core.learning.spectra import Spectra
from asid_core.signal.cqt import CqtFrontEnd
from asid_core.signal.front_end import FrontEnd
from asid_core.signal.log_frequency import LogFrequencyFrontEnd
from asid_core.signal.log_mel import LogMelFrontEnd


def spectra_of(front_end: FrontEnd, semitones: float) -> Spectra:
    """The `Spectra` of a front end. semitones: the largest pitch shift, up or down. Raises TypeError for others."""
    match front_end:
        case CqtFrontEnd():
            return CqtSpectra(front_end, semitones)
        case LogFrequencyFrontEnd():
            return LogFrequencySpectra(front_end, semitones)
        case LogMelFrontEnd():
            return LogMelSpectra(front_end, semitones)
    raise TypeError(f"no spectra for {type(front_end).__name__}")
