from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.config import (
    Config,
    GnnConfig,
    LinearConfig,
    LogFrequencyConfig,
    LogMelConfig,
    ModelConfig,
    RerankerConfig,
)
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.fingerprints import Fingerprints
from asid_core.model.linear import LinearEncoder
from asid_core.signal.probing import moved, normalised, probed_patches
from asid_core.signal.windows import level_db, window_starts
from tests.asid_core.golden import TINY, TINY_CONFIG, difference

LINEAR = Config(model=ModelConfig(name="linear", encoder=LinearConfig(dim=32)))
GNN = Config(
    model=ModelConfig(name="gnn", encoder=replace(TINY, patch_bins=6, patch_frames=5), reranker=RerankerConfig(heads=2))
)
CONFIGS = {"gnn-paper": TINY_CONFIG, "linear": LINEAR, "gnn": GNN}
RATE = 16_000


@cache
def fingerprinter(name: str) -> Fingerprinter:
    torch.manual_seed(0)
    model = Fingerprinter(CONFIGS[name]).eval()
    if CONFIGS[name].model.encoder.is_fitted:
        model.encoder.projection().copy_(torch.linalg.qr(torch.randn(1950, 32)).Q.T)
    return model


def music(seconds: float, seed: int = 0) -> torch.Tensor:
    """Half-second notes with three partials each, over a little noise."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    pitch = 110 * 2 ** (torch.randint(0, 36, (int(seconds * 2) + 2,), generator=generator) / 12)
    phase = 2 * torch.pi * torch.cumsum(pitch[(time * 2).long()].double(), 0) / RATE
    tone = torch.stack([torch.sin(k * phase) / k for k in (1, 2, 3)]).sum(0).float()
    return 0.2 * tone + 0.01 * torch.randn(len(time), generator=generator)


def segments(waveform: torch.Tensor, core_s: float, margin_s: float = 6.0) -> list[tuple[torch.Tensor, int, int, int]]:
    """The contents of a segment table: (samples, start of the core, lead, core)."""
    core, margin = round(core_s * RATE), round(margin_s * RATE)
    return [
        (waveform[max(start - margin, 0) : start + core + margin], start, min(start, margin), core)
        for start in range(0, len(waveform), core)
    ]


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=6, deadline=None)
@given(seconds=st.floats(31, 75), cores=st.integers(1, 2))
def test_windows_do_not_depend_on_where_segments_were_cut(name: str, seconds: float, cores: int) -> None:
    model, waveform = fingerprinter(name), music(seconds)
    whole = model.fingerprint(waveform)
    parts = [model.fingerprint_segment(*segment) for segment in segments(waveform, 30.72 * cores)]
    joined = Fingerprints.joined(parts)
    assert torch.equal(joined.window_index, torch.arange(len(whole.window_index)))
    assert torch.equal(joined.start_s, whole.start_s)
    assert difference(joined.level_db, whole.level_db) < 1e-3
    # batches cut elsewhere round differently, and a gnn may then swap near-equal neighbours
    assert difference(joined.vectors, whole.vectors) < (1e-4 if name == "linear" else 1e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_features_do_not_depend_on_where_segments_were_cut(name: str) -> None:
    model, waveform = fingerprinter(name), music(40)
    whole = model.features(waveform[None])[0]
    cut = 20 * model.hop_samples
    part = model.features(waveform[None, cut : cut + 30 * RATE])[0]
    # the front ends see 16 frames at most to either side
    inner = slice(16, part.shape[1] - 16)
    assert difference(part[:, inner], whole[:, 20:][:, inner]) < 2e-3  # dB; whitened values are closer


@pytest.mark.parametrize("name", CONFIGS)
def test_windows_start_at_every_hop_and_lie_whole_in_the_recording(name: str) -> None:
    model = fingerprinter(name)
    result = model.fingerprint(music(20))
    frames = 1 + 20 * RATE // model.hop_samples
    assert len(result.start_s) == len(window_starts(model.config.model.front_end, frames))
    assert result.start_s[1] - result.start_s[0] == pytest.approx(model.hop_s)
    assert result.start_s[-1] + model.window_s <= 20 + model.hop_samples / RATE
    assert result.vectors.shape == (len(result.start_s), model.dim)
    assert torch.allclose(result.vectors.norm(dim=1), torch.ones(len(result.vectors)), atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("samples", [0, 1, 300, 4800, 60_000])
def test_recordings_shorter_than_a_window_have_one(name: str, samples: int) -> None:
    result = fingerprinter(name).fingerprint(music(4)[:samples])
    assert result.vectors.shape[0] == 1
    assert result.vectors.isfinite().all() and result.level_db.isfinite().all()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_silence_is_the_zero_vector_and_a_constant_is_finite(name: str, level: float) -> None:
    result = fingerprinter(name).fingerprint(torch.full((6 * RATE,), level), nodes=True)
    assert result.vectors.isfinite().all()
    assert result.nodes is None or result.nodes.isfinite().all()
    if level == 0:
        assert (result.vectors == 0).all()
        assert (result.level_db == -120).all()


def test_level_is_rms_of_the_window() -> None:
    waveform = torch.full((8 * RATE,), 0.5)
    waveform[6 * RATE :] = 0
    level = level_db(LogFrequencyConfig(), waveform, torch.tensor([0, 150, 500]))
    assert torch.allclose(level, torch.tensor([-6.0206, -120.0, -120.0]), atol=1e-3)


@pytest.mark.parametrize("name", ["linear", "gnn"])
def test_the_identity_probe_is_the_window_itself(name: str) -> None:
    model = fingerprinter(name)
    features = model.features(music(12)[None])[0]
    first = torch.tensor([0, 4, 37, 150])
    probed = model.probe(features, first + 50.0, [(0.0, 1.0), (2.0, 1.08), (-1.0, 1.0)])
    assert probed.shape == (3, 4, model.dim)
    vectors, _ = model.encode(features, first)
    assert difference(probed[0], vectors) < 1e-4
    patches = probed_patches(features, first + 50.0, [2.0], 1.08, LogFrequencyConfig())
    assert difference(probed[1], model.encoder(patches[0])[0]) < 1e-5


def test_probes_of_many_centres_are_those_of_each() -> None:
    model = fingerprinter("linear")
    features = model.features(music(15)[None])[0]
    centres = torch.linspace(50, 320, 300)
    many = model.probe(features, centres, [(1.0, 0.926), (-1.0, 1.0)])
    for i in (0, 255, 256, 299):
        assert difference(model.probe(features, centres[i : i + 1], [(-1.0, 1.0)])[0], many[1, i : i + 1]) < 1e-5


@pytest.mark.parametrize("name", ["linear", "discriminant"])
@settings(deadline=None, max_examples=20)
@given(
    shifts=st.lists(st.integers(-7, 7), min_size=1, max_size=4),
    loudness=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_shifted_patches_have_the_vectors_of_the_patches_of_a_probe(
    name: str, shifts: list[int], loudness: list[float], seed: int
) -> None:
    """Silent ones too; `discriminant` makes no shifted patches."""
    model = Fingerprinter.from_pretrained(name)
    bins, frames = model.config.model.front_end.patch_size
    values = torch.rand(len(loudness), bins, frames, generator=torch.Generator().manual_seed(seed))
    patches = values * torch.tensor(loudness)[:, None, None]
    wanted = [model.encoder(normalised(moved(patches, shift)))[0] for shift in shifts]
    assert difference(model.encoder.shifted(patches, shifts, 2), torch.stack(wanted)) < 1e-5


@pytest.mark.parametrize("semitones", [[-3.0, 0.0, 2.0], [-1.25, 0.0, 0.5]])
def test_probes_are_those_of_whole_bins_or_between_bins(semitones: list[float]) -> None:
    model = Fingerprinter.from_pretrained("discriminant")
    features = model.features(music(12)[None])[0]
    centres = torch.tensor([60.0, 91.5, 200.0])
    patches = model.front_end.probe(features, centres, semitones, 1.08)
    wanted = torch.stack([model.encoder(some)[0] for some in patches])
    assert difference(model.probe(features, centres, [(pitch, 1.08) for pitch in semitones]), wanted) < 1e-5


def test_log_mel_is_not_probed() -> None:
    model = fingerprinter("gnn-paper")
    features = model.features(music(6)[None])[0]
    vectors, _ = model.encode(features, torch.tensor([3]))
    assert difference(model.probe(features, torch.tensor([67.0]), [(0.0, 1.0)])[0], vectors) < 1e-6
    with pytest.raises(ValueError, match="cannot be probed"):
        model.probe(features, torch.tensor([67.0]), [(1.0, 1.0)])


def test_encode_refuses_windows_that_are_not_whole() -> None:
    model = fingerprinter("linear")
    for first in (-1, 52):
        with pytest.raises(ValueError, match="not completely inside"):
            model.encode(torch.rand(156, 151), torch.tensor([0, first]))
    assert model.encode(torch.rand(156, 3), torch.tensor([], dtype=torch.long))[0].shape == (0, 32)


def test_nodes_only_when_asked_for() -> None:
    model = fingerprinter("gnn")
    features = model.features(music(6)[None])[0]
    first = torch.arange(0, 40, 4)
    assert model.encode(features, first)[1] is None
    _, nodes = model.encode(features, first, nodes=True)
    assert nodes is not None and nodes.shape == (10, 64, 9)
    assert model.reranker is not None and model.reranker(nodes, nodes.flip(0)).shape == (10,)


def test_linear_encoder_centres_projects_and_normalises() -> None:
    encoder = LinearEncoder(2, 2, 3)
    encoder.mean.fill_(0.1)
    patches = torch.rand(4, 2, 3)
    patches[1] = 0
    vectors, _ = encoder(patches)
    expected = patches.flatten(1)[:, :2] - 0.1
    assert torch.allclose(vectors[0], expected[0] / expected[0].norm())
    assert torch.equal(vectors[1], torch.zeros(2))


@pytest.mark.parametrize("name", CONFIGS)
def test_save_and_load(name: str, tmp_path: Path) -> None:
    model = fingerprinter(name)
    model.save(tmp_path / "weights")
    loaded = Fingerprinter.from_pretrained(tmp_path / "weights")
    assert loaded.config == model.config
    assert loaded.model_id == model.model_id
    waveform = music(6)
    assert torch.equal(loaded.fingerprint(waveform).vectors, model.fingerprint(waveform).vectors)


def test_model_id_follows_weights_and_config_but_not_the_reranker() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(GNN)
    before = model.model_id
    assert len(before) == 12 and int(before, 16) >= 0
    with torch.no_grad():
        model.reranker.classifier[0].bias.add_(1)  # type: ignore[union-attr,operator]
    assert model.model_id == before
    with torch.no_grad():
        model.encoder.pool.bias.add_(1)  # type: ignore[union-attr,operator]
    assert model.model_id != before
    assert isinstance(GNN.model.encoder, GnnConfig)
    other = replace(GNN, model=replace(GNN.model, encoder=replace(GNN.model.encoder, k=4)))
    torch.manual_seed(0)
    assert Fingerprinter(other).model_id != before


def test_optimised_copies_agree_and_keep_the_id(tmp_path: Path) -> None:
    model, waveform = fingerprinter("gnn-paper"), music(12)
    vectors = model.fingerprint(waveform).vectors
    fast, half = model.for_inference(), model.for_inference(torch.bfloat16)
    assert fast.model_id == half.model_id == model.model_id
    assert difference(fast.fingerprint(waveform).vectors, vectors) < 1e-4
    result = half.fingerprint(waveform, nodes=True)
    assert result.vectors.dtype == torch.float32 and (result.vectors * vectors).sum(1).min() > 0.999
    with pytest.raises(ValueError, match="cannot be saved"):
        half.save(tmp_path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"front_end": LogMelConfig()}, "front_end.kind: log_frequency"),
        ({"reranker": RerankerConfig(heads=4)}, "nodes of a gnn encoder"),
        ({"front_end": LogFrequencyConfig(window_frames=10_000)}, "more than 65,536 values"),
    ],
)
def test_parts_that_do_not_go_together(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**parts)


def test_an_unpooled_patch_and_a_full_size_paper_model() -> None:
    front = LogFrequencyConfig(pool_bins=1, pool_frames=1)
    model = Fingerprinter(
        Config(model=ModelConfig(front_end=front, encoder=replace(TINY, patch_bins=12, patch_frames=10)))
    )
    assert model.eval().fingerprint(music(5)).vectors.shape[1] == 16
    assert Fingerprinter(Config(model=ModelConfig(front_end=LogMelConfig(), encoder=GnnConfig()))).dim == 128


def test_unknown_weights_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="config.json"):
        Fingerprinter.from_pretrained(tmp_path)
