"""The coarse search, compared with a plain exhaustive search."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asid_core.config import FirstPassConfig
from asid_core.matching.background import MIN_DEVIATION, QUANTILE, groups_of_each, upper_quantile
from asid_core.matching.coarse import (
    GROUP,
    NO_FIRST_PASS,
    ExactSearch,
    Hits,
)
from asid_core.matching.eight_bits import quantised, restored, step


def unit(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=-1)


def search(
    queries: Tensor,
    blocks: list[Tensor],
    keep: int,
    order: list[int] | None = None,
    first_pass: FirstPassConfig = NO_FIRST_PASS,
) -> Hits:
    exact = ExactSearch(queries, keep, first_pass)
    firsts = np.cumsum([0, *map(len, blocks)])
    for index in order if order is not None else range(len(blocks)):
        exact.add(blocks[index], int(firsts[index]))
    return exact.hits()


def brute_force(queries: Tensor, blocks: list[Tensor], keep: int) -> list[tuple[int, int, int, float, float]]:
    """(window, probe, row, cosine, z_score): the best pair of each group, the best `keep` of each window."""
    result = []
    for window in range(queries.shape[1]):
        best: list[tuple[float, int, int]] = []
        heard: list[float] = []
        first = 0
        for block in blocks:
            inside = []
            for start in range(0, len(block), GROUP):
                scores = (queries[:, window] @ block[start : start + GROUP].T).numpy()
                probe, row = np.unravel_index(scores.argmax(), scores.shape)
                inside.append((float(scores.max()), int(probe), first + start + int(row)))
            cosines = np.array([cosine for cosine, _, _ in inside])
            loud = cosines[cosines > 0]
            heard += np.minimum(loud, np.quantile(loud, QUANTILE)).tolist() if len(loud) else []
            best += inside
            first += len(block)
        usual, spread = (float(np.mean(heard)), max(float(np.std(heard)), MIN_DEVIATION)) if heard else (0.0, 1.0)
        chosen = [b for b in sorted(best, reverse=True)[:keep] if b[0] > 0]
        result += [(window, probe, row, cosine, (cosine - usual) / spread) for cosine, probe, row in chosen]
    return result


def assert_same(hits: Hits, expected: list[tuple[int, int, int, float, float]]) -> None:
    window, probe, row, cosine, z_score = zip(*expected, strict=True) if expected else ((), (), (), (), ())
    assert hits.window.tolist() == list(window)
    assert hits.row.tolist() == list(row)
    assert hits.probe.tolist() == list(probe)
    np.testing.assert_allclose(hits.cosine, cosine, atol=1e-5)
    np.testing.assert_allclose(hits.z_score, z_score, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    windows=st.integers(1, 20),
    probes=st.integers(1, 3),
    keep=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)
def test_it_finds_what_brute_force_finds(sizes: list[int], windows: int, probes: int, keep: int, seed: int) -> None:
    queries = unit(probes, windows, 8, seed=seed)
    blocks = [unit(size, 8, seed=seed + 1 + i) for i, size in enumerate(sizes)]
    assert_same(search(queries, blocks, keep), brute_force(queries, blocks, keep))


def test_it_finds_what_brute_force_finds_over_several_tiles() -> None:
    queries, block = unit(9, 300, 8), unit(2505, 8, seed=1)  # 2700 query vectors, 2505 rows: neither fills its tiles
    assert_same(search(queries, [block], 5), brute_force(queries, [block], 5))


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(4)), seed=st.integers(0, 2**16))
def test_the_order_of_the_blocks_does_not_matter(order: list[int], seed: int) -> None:
    queries, blocks = unit(2, 5, 8, seed=seed), list(unit(100, 8, seed=seed + 1).split([16, 40, 3, 41]))
    one, other = search(queries, blocks, 6), search(queries, blocks, 6, order)
    assert one.row.tolist() == other.row.tolist() and one.probe.tolist() == other.probe.tolist()
    np.testing.assert_allclose(one.z_score, other.z_score, atol=1e-4)


def test_strength_hardly_depends_on_how_rows_come_in_blocks() -> None:
    queries, rows = unit(3, 7, 8), unit(200 * GROUP + 5, 8, seed=1)
    one, many = search(queries, [rows], 6), search(queries, list(rows.split(40 * GROUP)), 6)
    assert one.row.tolist() == many.row.tolist()
    np.testing.assert_allclose(one.z_score, many.z_score, rtol=0.05)  # each block levels its own top


def test_a_match_does_not_hide_itself_in_a_small_catalogue() -> None:
    queries, rows = 0.5 * unit(1, 1, 8), 0.5 * unit(12 * GROUP, 8, seed=1)
    without = search(queries, [rows], 1).z_score[0]
    rows[40] = 4 * queries[0, 0]  # a cosine of 1, four times the others' scale
    assert search(queries, [rows], 1).z_score[0] > 2 * without


def test_silence_is_never_a_hit_and_hardly_changes_strength() -> None:
    queries, rows = unit(2, 4, 8), unit(60 * GROUP, 8, seed=1)
    queries[:, 2] = 0
    padded = torch.cat([torch.zeros(4 * GROUP, 8), rows, torch.zeros(20 * GROUP + 3, 8)])
    with_silence, without = search(queries, [padded], 20), search(queries, [rows], 20)
    assert len(without.row) and 2 not in without.window
    assert with_silence.row.tolist() == (without.row + 4 * GROUP).tolist()
    np.testing.assert_allclose(with_silence.z_score, without.z_score, rtol=0.1)


@pytest.mark.parametrize(
    "first_pass", [NO_FIRST_PASS, FirstPassConfig(2, dims=16, probes=1), FirstPassConfig(1, probes=3)]
)
def test_strength_is_the_same_where_most_rows_do_not_count(first_pass: FirstPassConfig) -> None:
    """As with `--references GLOB`, where the rows of other tracks are zero vectors."""
    queries, rows = unit(3, 4, 32), unit(40 * GROUP, 32, seed=1)
    padded = torch.cat([torch.zeros(1000 * GROUP, 32), rows])
    few, many = search(queries, [rows], 5, first_pass=first_pass), search(queries, [padded], 5, first_pass=first_pass)
    assert many.z_score.max() == pytest.approx(few.z_score.max(), rel=0.05)


def test_nothing_to_search_in_gives_no_hits() -> None:
    exact = ExactSearch(unit(2, 4, 8), 3)
    exact.add(torch.zeros(0, 8), 0)
    hits = exact.hits()
    assert len(hits.row) == len(hits.z_score) == 0


def neighbours(count: int, dim: int, seed: int) -> Tensor:
    """Rows that change slowly, like overlapping windows. Leading dimensions hold most energy, as in a projection."""
    steps = torch.randn(count + 24, dim, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool1d(steps.T[None], 25, 1)[0].T
    return torch.nn.functional.normalize(smooth * torch.linspace(1, 0.3, dim), dim=-1)


@settings(deadline=None, max_examples=30)
@given(row=st.integers(0, 1999), seed=st.integers(0, 50))
def test_a_cheap_first_pass_still_finds_an_exact_row(row: int, seed: int) -> None:
    rows = neighbours(2000, 64, seed)
    queries = torch.stack([unit(1, 64, seed=1), rows[row : row + 1], unit(1, 64, seed=2)])
    hits = search(queries, [rows[:1024], rows[1024:]], 3, first_pass=FirstPassConfig(2, dims=32, probes=1))
    assert (hits.row[0], hits.probe[0]) == (row, 1)
    assert hits.cosine[0] == pytest.approx(1, abs=1e-5)
    assert hits.z_score[0] > 2


@settings(deadline=None, max_examples=30)
@given(row=st.integers(0, 1999), probe=st.integers(0, 8), seed=st.integers(0, 50))
def test_a_probe_that_was_not_looked_at_is_found_by_its_neighbour(row: int, probe: int, seed: int) -> None:
    rows = neighbours(2000, 64, seed)
    # of every three probes the outer ones are near the middle one, and one of all is the row itself
    queries = unit(3, 1, 64, seed=1).repeat_interleave(3, 0) + unit(9, 1, 64, seed=2)
    nearby = slice(probe // 3 * 3, probe // 3 * 3 + 3)
    queries[nearby] = rows[row] + 0.5 * unit(3, 1, 64, seed=3)
    queries[probe] = rows[row]
    hits = search(
        torch.nn.functional.normalize(queries, dim=-1),
        list(rows.split(1024)),
        3,
        first_pass=FirstPassConfig(2, probes=3),
    )
    assert (hits.row[0], hits.probe[0]) == (row, probe)
    assert hits.cosine[0] == pytest.approx(1, abs=1e-5)


def test_of_many_blocks_a_part_of_each_tells_what_is_usual() -> None:
    rows, queries = neighbours(64 * 128 * GROUP, 64, seed=5), unit(3, 6, 64, seed=6)
    found = []
    for blocks in (1, 64):
        exact = ExactSearch(queries, 5, FirstPassConfig(2, probes=1), blocks)
        for start in range(0, len(rows), 128 * GROUP):
            exact.add(rows[start : start + 128 * GROUP], start)
        found.append(exact.hits())
    whole, part = found
    assert (part.row == whole.row).all() and (part.cosine == whole.cosine).all()
    np.testing.assert_allclose(part.z_score, whole.z_score, rtol=0.1)
    assert [groups_of_each(blocks) for blocks in (0, 1, 16, 32, 64, 10**6)] == [64, 64, 64, 32, 16, 16]


@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16, torch.int8])
def test_a_first_pass_finds_nearly_all_that_a_full_one_finds(
    number: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asid_core.matching.coarse.first_pass_type", lambda _: number)
    rows = neighbours(3000, 64, seed=3)
    queries = torch.nn.functional.normalize(rows[None, 40:2900:71] + 0.7 * unit(2, 41, 64, seed=4), dim=-1)
    full = search(queries, list(rows.split(1024)), 10)
    chosen = search(queries, list(rows.split(1024)), 10, first_pass=FirstPassConfig(2, probes=1))
    wanted = {(w, r): c for w, r, c in zip(full.window, full.row, full.cosine, strict=True)}
    found = {(w, r): c for w, r, c in zip(chosen.window, chosen.row, chosen.cosine, strict=True)}
    both = wanted.keys() & found.keys()
    assert len(both) > 0.95 * len(wanted)
    assert all(
        abs(wanted[hit] - found[hit]) < 1e-5 for hit in both
    )  # scored in full, whatever the first_pass's numbers
    firsts = {w: c for (w, _), c in reversed(wanted.items())}
    assert sum(abs(firsts[w] - chosen.cosine[chosen.window == w].max()) < 1e-5 for w in firsts) >= 0.98 * len(firsts)


def test_a_block_found_late_takes_the_place_of_what_was_kept() -> None:
    queries, rows = unit(1, 3, 8), unit(6 * GROUP, 8, seed=1)
    late = queries[0].repeat_interleave(GROUP, 0)  # a group for each window, in which every row is the window itself
    hits = search(queries, [rows, late], 2)
    assert (hits.cosine[::2] > 0.999).all() and len(hits.row) == 6


@settings(deadline=None, max_examples=60)
@given(groups=st.integers(1, 130), heard=st.lists(st.integers(0, 130), min_size=1, max_size=5))
def test_the_level_is_a_quantile_of_what_is_heard(groups: int, heard: list[int]) -> None:
    best = 0.1 + torch.rand(len(heard), groups, generator=torch.Generator().manual_seed(groups))
    counts = torch.tensor([min(count, groups) for count in heard])
    for row, count in zip(best, counts.tolist(), strict=True):
        row[count:] = 0
    some = [row[:count].numpy() for row, count in zip(best, counts.tolist(), strict=True)]
    wanted = [np.quantile(values, QUANTILE) if len(values) else 0.0 for values in some]
    np.testing.assert_allclose(upper_quantile(best, counts), wanted, atol=1e-6)


@pytest.mark.parametrize("first_pass", [NO_FIRST_PASS, FirstPassConfig(2, dims=32, probes=1)])
@pytest.mark.parametrize("number", [torch.int8, torch.float32])
def test_rows_in_eight_bits_are_found_as_their_floats_are(
    first_pass: FirstPassConfig, number: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asid_core.matching.coarse.first_pass_type", lambda _: number)
    queries, rows = unit(2, 6, 64, seed=1), unit(900, 64, seed=2)
    rows[::7] = 0  # silence
    codes = quantised(rows, step(64))
    stored, floats = (search(queries, list(some.split(320)), 8, first_pass=first_pass) for some in (codes, rows))
    same = {(w, r) for w, r in zip(stored.window, stored.row, strict=True)}
    assert len(same & {(w, r) for w, r in zip(floats.window, floats.row, strict=True)}) >= 0.9 * len(same)
    best = {w: c for w, c in zip(stored.window[::-1], stored.cosine[::-1], strict=True)}
    assert all(abs(best[w] - floats.cosine[floats.window == w].max()) < 0.01 for w in best)
    assert not np.isin(stored.row, np.arange(0, 900, 7)).any()


def test_eight_bits_keep_a_unit_vector_to_half_a_unit() -> None:
    vectors = unit(50, 512, seed=4)
    assert (restored(quantised(vectors, step(512))) - vectors).abs().max() <= step(512) / 2 + 1e-7


def test_the_first_pass_lets_a_match_through_that_lies_mostly_in_the_later_dimensions() -> None:
    dim, leading = 64, 16
    query = unit(1, 1, dim)
    side = unit(1, dim, seed=1)
    side = torch.nn.functional.normalize(side - (side @ query[0].T) * query[0], dim=1)
    decoy, match = (cosine * query[0] + (1 - cosine**2) ** 0.5 * side for cosine in (0.4, 0.99))
    blocks = [torch.cat([row, torch.zeros(GROUP - 1, dim)]) for row in (decoy, match)]
    assert (
        float(query[0, 0, :leading] @ match[0, :leading]) < 0.4
    )  # what the first pass sees is below the decoy's cosine
    found = search(query, blocks, keep=1, first_pass=FirstPassConfig(stride=1, dims=leading, probes=1))
    assert found.row.tolist() == [GROUP]
