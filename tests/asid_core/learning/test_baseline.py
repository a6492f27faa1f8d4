from dataclasses import replace

import pytest
import torch

from asid_core.config import AugmentationConfig, Config, CqtConfig, ModelConfig, ResnetIbnConfig, TrainingConfig
from asid_core.learning.baseline import ResnetTask, encoder_task, triplet
from asid_core.learning.cqt_spectra import CqtSpectra
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.loop import Loop
from asid_core.learning.pairs import Batch, make_pairs
from asid_core.learning.spectra import Spectra
from asid_core.learning.tasks import EncoderTask
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.cqt import CqtFrontEnd
from tests.asid_core.golden import TINY_CONFIG, difference

TRAINING = TrainingConfig(
    batch_pairs=6,
    learning_rate=2e-3,
    warmup_steps=1,
    augmentation=AugmentationConfig(semitones=2.0, tempo_ratios=(0.8, 1.2)),
)
CONFIG = Config(
    model=ModelConfig(
        "small-resnet", CqtConfig(bins=48, f_min_hz=110.0), ResnetIbnConfig(blocks=(1, 1, 1), width=4, classes=16)
    ),
    training=TRAINING,
)


def batch(spectra: Spectra, rows: int = 6) -> Batch:
    """Rows of chords; two rows for each track."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(spectra.cut_samples(1.2, TRAINING.augmentation.offset_s)) / 16_000
    pitches = 110 * 2 ** (torch.randint(0, 36, (rows, 12), generator=generator) / 12)
    notes = torch.stack([torch.sin(2 * torch.pi * row[(time * 2).long() % 12] * time) for row in pitches]) * 0.3
    return Batch(notes, torch.zeros_like(notes), torch.zeros(rows, dtype=torch.bool), torch.arange(rows) // 2)


def test_triplet_by_hand() -> None:
    anchors = torch.eye(3)
    partners = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0.6, 0.8]]), dim=1)
    none = torch.zeros(3, 3, dtype=torch.bool)
    # cosines: 1, .707, 0 | 0, .707, .6 | 0, 0, .8: hinges max(.707 - 1 + .5, 0), max(.6 - .707 + .5, 0), 0
    wanted = (0.7071 - 1 + 0.5 + 0.6 - 0.7071 + 0.5) / 3
    assert float(triplet(anchors, partners, none, 0.5)) == pytest.approx(wanted, abs=1e-3)
    same = none.clone()
    same[0, 1] = True  # then its hardest is at 0
    assert float(triplet(anchors, partners, same, 0.5)) == pytest.approx((0.6 - 0.7071 + 0.5) / 3, abs=1e-3)
    assert float(triplet(anchors, partners, ~none, 0.5)) == 0


def test_powers_are_the_front_ends_and_a_pitched_sine_is_a_higher_sine() -> None:
    front_end = CqtFrontEnd(CONFIG.model.front_end)  # type: ignore[arg-type]
    spectra = spectra_of(front_end, 3.0)
    assert isinstance(spectra, CqtSpectra)
    time = torch.arange(32_000) / 16_000
    low, high = (torch.sin(2 * torch.pi * hz * time)[None] for hz in (440.0, 440.0 * 2 ** (2 / 12)))
    plain = spectra.bands(spectra.stft(low))
    assert difference(plain, front_end.power(low)) < 1e-3
    up = spectra.bands(spectra.stft(low), torch.tensor([2.0]))
    wanted = spectra.bands(spectra.stft(high))
    assert difference(up[..., 20:80], wanted[..., 20:80]) < 0.01
    assert difference(spectra.patches(plain), front_end(low)) < 0.1
    kept = spectra.prepared(low)
    assert difference(spectra.bands(spectra.stft(kept)), plain) < 2e-3


def test_steps_lower_its_loss_and_move_every_weight() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(CONFIG)
    task = encoder_task(model, TRAINING)
    assert isinstance(task, ResnetTask)
    loop = Loop(task, TRAINING, 40, TRAINING.learning_rate)
    loop.half = False
    pairs = make_pairs(batch(loop.spectra), loop.spectra, TRAINING, 0.5)
    assert pairs.track is not None and pairs.references.shape == (6, 48, 250)
    before = {name: value.clone() for name, value in model.encoder.named_parameters()}
    task.train()
    measured = [loop.take(pairs) for _ in range(12)]
    assert measured[-1].loss < 0.7 * measured[0].loss
    assert set(measured[0].values) == {"triplet", "accuracy", "classification"}
    still = [name for name, value in model.encoder.named_parameters() if torch.equal(value, before[name])]
    assert still == ["neck.bias"]
    assert set(task.validate(pairs)) == {"hr1", "mrr", "score"}


def test_other_encoders_have_other_tasks() -> None:
    gnn = Fingerprinter(TINY_CONFIG)
    assert type(encoder_task(gnn, TrainingConfig())) is EncoderTask
    with pytest.raises(ValueError, match="resnet_ibn"):
        ResnetTask(gnn, TrainingConfig())
    with pytest.raises(ValueError, match="fitted"):
        encoder_task(Fingerprinter(replace(CONFIG, model=ModelConfig())), TrainingConfig())
