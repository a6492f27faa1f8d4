from asid_core.config import TrainingConfig
from asid_core.learning.schedule import difficulty, learning_rate


def test_warm_up_then_cosine_to_the_final_rate() -> None:
    training = TrainingConfig(warmup_steps=10)
    rates = [learning_rate(training, step, 100, 8e-5) for step in range(101)]
    assert abs(rates[0] - 8e-6) < 1e-12 and max(rates) == rates[9] == 8e-5 or rates[10] == 8e-5
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert abs(rates[100] - training.final_learning_rate) < 1e-9


def test_hardness_grows_from_5_percent_to_full_at_half_time() -> None:
    training = TrainingConfig(curriculum=0.5)
    assert difficulty(training, 0, 100) == 0.05
    assert abs(difficulty(training, 25, 100) - 0.525) < 1e-9
    assert difficulty(training, 50, 100) == difficulty(training, 99, 100) == 1.0
    assert difficulty(TrainingConfig(curriculum=0.0), 0, 100) == 1.0
