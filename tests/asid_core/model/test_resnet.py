from dataclasses import replace
from functools import cache

import pytest
import torch

from asid_core.config import Config, CqtConfig, LinearConfig, ModelConfig, RerankerConfig, ResnetIbnConfig, load
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.fingerprints import Fingerprints
from asid_core.model.resnet import GeneralisedMean, InstanceBatchNorm, ResnetIbnEncoder
from tests.asid_core.golden import difference
from tests.asid_core.model.test_fingerprinter import music, segments

SMALL = ResnetIbnConfig(blocks=(1, 1, 1), width=4, classes=8)
CONFIG = Config(model=ModelConfig("small-resnet", CqtConfig(bins=48, f_min_hz=110.0), SMALL))


@cache
def small() -> Fingerprinter:
    torch.manual_seed(0)
    return Fingerprinter(CONFIG).eval()


def test_at_the_papers_width_the_named_config_is_resnet_50_with_2048_values() -> None:
    config = load("resnet-ibn", ["model.encoder.width=64"])
    encoder = Fingerprinter(config).encoder
    assert isinstance(encoder, ResnetIbnEncoder) and config.model.encoder.dim == 2048
    parameters = {name: p.numel() for name, p in encoder.named_parameters() if not name.startswith("classifier")}
    # the published ResNet-50 has 25,557,032, 2,049,000 of them in its classifier; less two colours of the first layer,
    # and with GeM's exponent and the last norm
    assert sum(parameters.values()) == 25_557_032 - 2_049_000 - 2 * 64 * 7 * 7 + 1 + 2 * 2048
    assert sum(isinstance(m, InstanceBatchNorm) for m in encoder.modules()) == 3 + 4 + 6
    assert config.model.front_end.window_frames * config.model.front_end.hop_samples == 5 * 16_000


def test_shapes_and_what_the_maps_become() -> None:
    encoder = small().encoder
    assert isinstance(encoder, ResnetIbnEncoder)
    windows = torch.randn(3, 48, 250)
    vectors, nodes = encoder(windows)
    assert vectors.shape == (3, 64) == (3, SMALL.dim) and nodes is None
    assert encoder.stages(encoder.stem(windows[:, None])).shape == (3, 64, 3, 16)
    assert difference(vectors.norm(dim=1), torch.ones(3)) < 1e-5


def test_loudness_is_nothing_to_it_and_silence_is_zero() -> None:
    model = small()
    audio = music(6.0)
    loud, soft, silent = (model.fingerprint(audio * gain).vectors for gain in (1.0, 0.5, 0.0))
    assert float((loud * soft).sum(1).min()) > 0.999
    assert torch.equal(silent, torch.zeros_like(silent)) and bool((loud.norm(dim=1) > 0.99).all())


def test_windows_do_not_depend_on_where_segments_were_cut() -> None:
    model, waveform = small(), music(64.0)
    whole = model.fingerprint(waveform)
    joined = Fingerprints.joined([model.fingerprint_segment(*segment) for segment in segments(waveform, 30.72)])
    assert torch.equal(joined.window_index, whole.window_index) and torch.equal(joined.start_s, whole.start_s)
    assert difference(joined.vectors, whole.vectors) < 1e-3


def test_generalised_mean_by_hand() -> None:
    pool = GeneralisedMean()
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]])
    assert float(pool(maps).detach()) == pytest.approx((36 / 4) ** (1 / 3), rel=1e-5)
    with torch.no_grad():
        pool.p.fill_(1.0)
    assert float(pool(maps).detach()) == pytest.approx(1.5, rel=1e-5)


def test_half_of_a_norm_is_by_window_and_half_by_batch() -> None:
    norm = InstanceBatchNorm(4).train()
    maps = torch.randn(5, 4, 6, 7) * torch.arange(1, 6)[:, None, None, None]
    out = norm(maps)
    assert difference(out[:, :2].var((2, 3), unbiased=False), torch.ones(5, 2)) < 1e-3
    assert difference(out[:, 2:].var((0, 2, 3), unbiased=False), torch.ones(2)) < 1e-3
    assert out[4, 2:].var() > 4 * out[0, 2:].var()


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="log_frequency"):
        ModelConfig("x", CqtConfig(), LinearConfig(dim=8))
    with pytest.raises(ValueError, match="heads to 0"):
        replace(CONFIG.model, reranker=RerankerConfig(heads=2))
    with pytest.raises(ValueError, match="probes"):
        small().probe(torch.zeros(48, 300), torch.tensor([125.0]), [(1.0, 1.0)])


def test_saved_and_read_back(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    small().save(folder)
    again = Fingerprinter.from_pretrained(folder)
    assert again.config == CONFIG and again.model_id == small().model_id
