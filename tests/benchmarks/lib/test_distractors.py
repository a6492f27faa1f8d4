import numpy as np
import pytest
import torch

from benchmarks.lib.distractors import Surrogates, Tail, fit_tails, to_length


def real_tracks(count: int = 12, rows: int = 400, dim: int = 12) -> list[torch.Tensor]:
    """Rows around a common mean with slow and fast dimensions, some of them correlated, and a few silent rows."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=generator)
    tracks = []
    for _ in range(count):
        steps = torch.randn(rows + 40, dim, generator=generator)
        slow = torch.nn.functional.avg_pool1d(steps.T[None], 40, 1)[0].T[:rows] * 5
        track = slow @ mixing + 0.3 * steps[:rows] + 2.0
        track = torch.nn.functional.normalize(track, dim=1)
        track[:3] = 0
        tracks.append(track)
    return tracks


def moments(rows: torch.Tensor, tracks: int, lag: int) -> torch.Tensor:
    """Covariance of rows with the rows `lag` later in the same track."""
    parts = rows.view(tracks, -1, rows.shape[1])
    centred = parts - parts.mean((0, 1))
    return torch.einsum("tri,trj->ij", centred[:, : parts.shape[1] - lag], centred[:, lag:]) / parts[:, lag:, 0].numel()


@pytest.mark.parametrize("lag", [0, 5, 20])
def test_surrogates_go_with_themselves_in_time_as_the_real_ones_do(lag: int) -> None:
    real = [track[3:] for track in real_tracks()]
    drawn = Surrogates(real_tracks(), 397).draw(60, torch.Generator().manual_seed(1))
    assert drawn.shape == (60 * 397, 12) and torch.allclose(drawn.norm(dim=1), torch.ones(len(drawn)), atol=1e-5)
    wanted = moments(torch.cat(real), 12, lag)
    found = moments(drawn, 60, lag)
    assert float((found - wanted).norm() / moments(torch.cat(real), 12, 0).norm()) < 0.25


def test_tracks_of_the_same_numbers_are_the_same() -> None:
    source = Surrogates(real_tracks(), 50)
    first, again, others = source.numbered(7, 3), source.numbered(7, 3), source.numbered(10, 3)
    assert first.shape == (3, 50, 12) and (first == again).all() and not np.allclose(first, others)


def test_nothing_of_the_music_is_left() -> None:
    """The best cosine between a real row and a surrogate is as low as between two tracks."""
    tracks = real_tracks(dim=48)
    drawn = Surrogates(tracks, 397).draw(12, torch.Generator().manual_seed(1))
    queries = tracks[0][10::40]
    to_others = (queries @ torch.cat(tracks[1:]).T).amax(1).mean()
    to_drawn = (queries @ drawn.T).amax(1).mean()
    assert float(to_drawn) == pytest.approx(float(to_others), abs=0.15) and float(to_drawn) < 0.8


def test_a_short_track_runs_back_and_forth() -> None:
    assert to_length(torch.arange(3.0)[:, None], 8).flatten().tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    with pytest.raises(ValueError, match="no real"):
        Surrogates([torch.zeros(5, 4)], 10)


@pytest.mark.parametrize("kind", ["exponential", "normal"])
def test_the_tail_foretells_the_best_of_many_more_than_were_drawn(kind: str) -> None:
    """60 queries with 250 distractors each, each on its own scale, predict the mean best of 20,000."""
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.5, 2.0, 60)
    draw = rng.exponential if kind == "exponential" else lambda size: np.abs(rng.normal(size=size))
    tails = fit_tails([2 + s * draw(size=250) for s in scales], 250)
    truly = np.mean([[2 + s * draw(size=20_000).max() for _ in range(20)] for s in scales])
    foretold = np.mean([[tail.best(5, 20_000, rng)[0] for _ in range(20)] for tail in tails])
    assert foretold == pytest.approx(truly, rel=0.06)
    if kind == "exponential":
        assert tails[0].shape > -0.1
    else:
        assert tails[0].shape < -0.02


def test_the_best_of_as_many_as_were_drawn_are_those_found() -> None:
    scores = np.sort(np.random.default_rng(0).exponential(size=200))[::-1]
    tail = fit_tails([scores], 200)[0]
    rng = np.random.default_rng(1)
    best = np.array([tail.best(60, 200, rng) for _ in range(300)])
    assert np.all(np.diff(best, axis=1) <= 0)
    assert np.allclose(best.mean(0)[[20, 40, 59]], scores[[20, 40, 59]], rtol=0.05)
    assert len(tail.best(20, 0, rng)) == 0 and len(tail.best(20, 3, rng)) == 3


def test_only_what_was_found_is_returned() -> None:
    found = np.arange(30.0, 0, -1)
    tail = fit_tails([found], 200)[0]
    assert isinstance(tail, Tail) and len(tail.best(200, 200, np.random.default_rng(0))) < 60
    with pytest.raises(ValueError, match="keep more hits"):
        fit_tails([found[:10]], 200)
