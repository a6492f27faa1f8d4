"""The map of the coarse search."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from asid_core import config as configs
from asid_core.evaluation.truth import Query, Relation, Truth
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.coarse_ablation import BASE, OTHER_SCALES, VARIED, measure, table
from benchmarks.lib.among_distractors import WEIGHTS
from benchmarks.lib.coarse_rows import reference_windows
from benchmarks.lib.coarse_setting import Scale, Setting
from tests.conftest import write_audio
from tests.pipelines.catalogues import melody

NARROW = replace(BASE, reach=(2.0, 1.1), hop_s=1.0)


def test_one_thing_is_varied_at_a_time_from_what_ships() -> None:
    config = configs.load(WEIGHTS)
    assert (BASE.dim, BASE.hop_s) == (config.model.encoder.dim, config.probes.query_hop_s)
    assert BASE.chosen(config).grid == config.probes.grid and BASE.first_pass == config.search.first_pass
    assert len(VARIED) == len(set(VARIED)) and config.search.verify_tracks == 20
    for setting in (*VARIED[1:], *OTHER_SCALES):
        assert sum(getattr(setting, one.name) != getattr(BASE, one.name) for one in fields(Setting)) == 1
    probes = {len(setting.chosen(config).grid) for setting in VARIED}
    assert probes == {1, 15, 81, 225}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    place = tmp_path_factory.mktemp("bench")
    tunes = {f"r{seed}": melody(12.0, seed) for seed in range(3)}
    for name, tune in tunes.items():
        write_audio(place / "references" / f"{name}.wav", tune, 16_000)
    write_audio(place / "queries" / "same.wav", tunes["r1"][16_000 * 3 : 16_000 * 10], 16_000)
    write_audio(place / "queries" / "backwards.wav", tunes["r1"][::-1].copy(), 16_000)
    write_audio(place / "queries" / "nothing.wav", melody(7.0, 9), 16_000)
    queries = (Query("same", ignored=("r0",)), Query("backwards"), Query("nothing"))
    return place, Truth(queries, tuple(tunes), (Relation("same", "r1"), Relation("backwards", "r1", backwards=True)))


@torch.no_grad()
def test_each_setting_finds_what_is_there(bench: tuple[Path, Truth]) -> None:
    place, truth = bench
    model = Fingerprinter.from_pretrained(WEIGHTS)
    scale = Scale(model, reference_windows(model, sorted((place / "references").iterdir())))
    varied = [NARROW, replace(NARROW, dim=64), replace(NARROW, scales=(0, 1))]
    ranks = measure([scale, scale], place, truth, varied)
    assert list(ranks) == varied
    assert all(found.ranks == {"same": 1} for found in ranks.values())
    lines = table(ranks, [scale, scale]).splitlines()
    assert lines[2].startswith("| 2 | 256 | 1.0 | 15 | 2 | 128 | 3 | 1.000")
    assert lines[3].startswith("| 2 | 64 | 1.0 | 15 | 2 | 64 | 3 | 1.000")
    assert lines[4].startswith("| 2 and 2 | 256 ")
    assert len({line.count("|") for line in lines}) == 1
