"""The number format of the first pass, by device."""

from __future__ import annotations

import pytest
import torch

from asid_core import precision


@pytest.mark.parametrize("pays", [False, True])
def test_the_type_of_a_first_pass_is_what_the_device_is_fast_with(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "int8_pays", lambda: pays)
    assert precision.first_pass_type(torch.device("cpu")) == (torch.int8 if pays else torch.float32)
    assert precision.first_pass_type(torch.device("cuda")) == torch.int8
