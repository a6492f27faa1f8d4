"""Which configs are valid, and how they are written to files."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from asid_core.config import (
    NO_FIRST_PASS,
    AugmentationConfig,
    Config,
    CqtConfig,
    FirstPassConfig,
    GnnConfig,
    ProbesConfig,
    SearchConfig,
    SegmentConfig,
    load,
    names,
    stated,
)
from asid_core.plain_values import ConfigError, from_dict, to_dict


@pytest.mark.parametrize(
    ("tempo_ratios", "looked"),
    [
        ((0.92, 1.0, 1.08), 3),
        ((0.8, 1.0, 1.2), 1),
        ((1.2, 1.0, 0.8), 1),
        ((1.08, 1.0, 0.92), 3),
        ((0.96, 1.0), 2),
        ((0.86, 0.93, 1.0, 1.07, 1.15), 1),  # no number of at most three divides them
        ((1.0,), 1),
    ],
)
def test_a_first_pass_leaves_out_probes_only_between_near_tempi(tempo_ratios: tuple[float, ...], looked: int) -> None:
    config = Config(
        probes=ProbesConfig((-1.0, 0.0, 1.0), tempo_ratios), search=SearchConfig(first_pass=FirstPassConfig(probes=3))
    )
    assert (config.first_pass.stride, config.first_pass.dims, config.first_pass.probes) == (1, 0, looked)
    assert replace(config, search=SearchConfig(first_pass=FirstPassConfig(stride=0))).first_pass == NO_FIRST_PASS


@pytest.mark.parametrize(("tempi", "looked"), [(15, 5), (5, 5), (9, 3), (16, 4), (7, 1)])
def test_of_the_default_a_first_pass_compares_one_tempo_of_up_to_five(tempi: int, looked: int) -> None:
    ratios = [round(1.08 ** (n - tempi // 2), 3) for n in range(tempi)]
    assert load("discriminant", [f"probes.tempo_ratios={ratios}"]).first_pass.probes == looked


@pytest.mark.parametrize(("references", "verified"), [(0, 7), (1, 7), (100, 7), (1000, 14), (10_000, 21), (10**8, 49)])
def test_of_ten_times_as_many_references_a_fixed_number_more_are_verified(references: int, verified: int) -> None:
    search = SearchConfig(verify_tracks=7, places_per_track=3)
    assert search.among(references) == replace(search, verify_tracks=verified)
    every = SearchConfig(verify_tracks=1_000_000)
    assert every.among(references) == every


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("5E4", 5e4), ("1.0e-3", 1e-3), ("-1.5e3", -1500.0), ("2", 2.0)]
)
def test_a_number_may_be_written_as_people_do(text: str, value: float) -> None:
    assert load("linear", [f"score.intercept={text}"]).score.intercept == value


@pytest.mark.parametrize("text", ["fast", "1e", "e5", "'nan'", "true", "[1e-3]"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="training.learning_rate must be float"):
        load("linear", [f"training.learning_rate={text}"])


def test_a_key_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown key training.learning_rte \(known keys: .*learning_rate"):
        load("linear", ["training.learning_rte=1"])


def test_numbers_in_lists_too() -> None:
    assert load("linear", ["probes.semitones=[1e0, -2]"]).probes.semitones == (1.0, -2.0)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("segment.core_s=-1", "segment.core_s must be greater than or equal to 0.1, not -1"),
        ("segment.files_per_task=0", "segment.files_per_task must be"),
        ("probes.tempo_ratios=[0]", "probes.tempo_ratios.0 must be"),
        ("probes.tempo_ratios=[]", "probes.tempo_ratios must"),
        ("model.encoder.dim=0", "model.encoder.dim must be"),
        ("model.encoder.dim=1.5", "model.encoder.dim must be int"),
        ("model.front_end.bins=1000000000", "model.front_end.bins must be less than"),
        ("model.front_end.bins=300", "model.front_end: bins reach beyond 8000 Hz"),
        ("model.front_end.mean_bins=4", "model.front_end: mean_bins and mean_frames must be odd"),
        ("model.front_end=3", "model.front_end must be a section"),
        ("model.encoder.kind=transformer", "model.encoder.kind must be one of"),
        ("model.encoder.depth=3", r"unknown key model.encoder.depth \(known keys: dim, kind\)"),
        ("model.reranker.heads=4", "model: reranker.kind: attention needs the nodes"),
        ("segment.core_s=10.01", "segment.core_s 10.01 is 160160 samples, which is not a multiple"),
        ("segment.margin_s=1", "segment.margin_s 1.0 must be at least a window, 4 s"),
        ("segment.min_track_s=50000", "segment: min_track_s 50000.0 is more than max_track_s"),
        ("training.learning_rate=.nan", "training.learning_rate must be a finite number"),
        ("score.coarse=.inf", "score.coarse must be a finite number"),
        ("search.first_pass.stride=3", "search.first_pass.stride must be 0, 1, 2, 4, 8 or 16"),
        ("segment=1", "segment must be a section"),
        ("report.sound_mb={", "report.sound_mb: .* is not valid YAML"),
    ],
)
def test_what_cannot_be_is_refused_with_its_dotted_path(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("linear", [assignment])


def test_an_aligned_reranker_needs_the_frames_it_was_trained_on() -> None:
    aligned = ["model.reranker.kind=aligned"]
    load("linear", [*aligned, "verify.features.window_frames=52"])
    with pytest.raises(ConfigError, match="model.reranker.kind: aligned needs the default frame settings"):
        load("linear", [*aligned, "verify.features.bins=120"])


@pytest.mark.parametrize("kind", [Config, CqtConfig, GnnConfig, AugmentationConfig])
@pytest.mark.parametrize("value", [-(10**12), 10**18, float("nan"), float("-inf")])
def test_no_number_is_without_bounds(kind: type, value: float) -> None:
    """Except the coefficients of the score, which may be any finite number."""

    def tried(section: Any, values: dict[str, Any]) -> None:
        for field in fields(section):
            held = getattr(section, field.name)
            if is_dataclass(held):
                tried(held, values.setdefault(field.name, {}))
            elif isinstance(held, int | float) and not isinstance(held, bool) and field.name not in free:
                before = values[field.name]
                values[field.name] = int(value) if isinstance(held, int) and value == value != float("-inf") else value
                with pytest.raises(ConfigError, match=f"{field.name} must be"):
                    from_dict(kind, whole)
                values[field.name] = before

    free = {"intercept", "coarse", "verify", "margin", "rerank", "tries"} if kind is Config else set()
    whole = to_dict(kind())
    tried(kind(), whole)


def test_a_section_made_in_code_is_checked_as_well() -> None:
    for make in (
        lambda: SegmentConfig(core_s=0),
        lambda: replace(SegmentConfig(), files_per_task=0),
        lambda: GnnConfig(channels=(8, 16), blocks=(1,)),
        lambda: CqtConfig(hop_samples=321),
    ):
        with pytest.raises(ValueError):
            make()


def test_a_front_end_that_is_not_probed_refuses_probes() -> None:
    with pytest.raises(ConfigError, match="log_mel features cannot be probed"):
        load("gnn-paper", ["probes.semitones=[0,1]"])


@pytest.mark.parametrize("name", [*names(), "another"])
def test_a_config_states_what_differs_from_its_base(name: str, tmp_path: Path) -> None:
    config = load(name if name in names() else "gnn", ["search.verify_tracks=7", f"model.name={name}"])
    path = tmp_path / "config.json"
    path.write_text(stated(config))
    assert load(str(path)) == config
    values = json.loads(path.read_text())
    assert values["search"]["verify_tracks"] == 7 and values["model"] == to_dict(config.model)
    assert values.get("base") == (name if name in names() else None)
    if name in names():
        assert set(values) == {"base", "model", "search"} and set(values["search"]) == {"verify_tracks"}


def test_a_section_of_another_kind_replaces_that_of_the_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: linear\nmodel: {name: mine, encoder: {kind: discriminant}}\n")
    config = load(str(path))
    assert config.model.encoder.kind == "discriminant" and config.model.encoder.dim == 128
    assert config.probes == load("linear").probes


def test_a_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: liner\n")
    with pytest.raises(ConfigError, match="base must be one of .*linear.*, not 'liner'"):
        load(str(path))


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{", '{"a": ' * 20_000, "\x00"])
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_text(text)
    with pytest.raises(ConfigError, match="mine"):
        load(str(path))
