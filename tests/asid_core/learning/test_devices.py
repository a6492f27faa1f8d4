"""Training works on whatever device a model is on. The meta device, which has no data, stands in for a GPU."""

import pytest
import torch

from asid_core import config as configs
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.negative_queue import NegativeQueue
from asid_core.model.factory import front_end_of

META = torch.device("meta")


@pytest.mark.parametrize("name", configs.names())
def test_spectra_are_made_on_the_device_of_their_front_end(name: str) -> None:
    front_end = front_end_of(configs.load(name).model.front_end)
    spectra = spectra_of(front_end.to(META), semitones=2.0).to(META)
    prepared = spectra.prepared(torch.zeros(2, 80_000, device=META))
    bands = spectra.bands(spectra.stft(prepared), torch.zeros(2, device=META))
    ones = torch.ones(2, device=META)
    assert spectra.patches(spectra.stretched(bands, 60 * ones, ones)).device == META


def test_the_queue_of_negatives_is_on_the_device_of_its_windows() -> None:
    queue = NegativeQueue(10)
    for _ in range(2):
        queue.add(torch.zeros(4, 3, 5, device=META), torch.zeros(4, 8, device=META), torch.zeros(4, device=META))
    assert {queue.patches.device, queue.vectors.device, queue.tracks.device} == {META}
