import numpy as np
import pytest
import torch

from kline_core.encoder import training
from kline_core.encoder.synthetic import random_walk, synthetic_market
from kline_core.encoder.training import (
    GROUP_SIZE,
    GROUPS,
    NEIGHBOURS,
    Losses,
    WindowPool,
    batch_positions,
    score_matrix,
    similarity_losses,
    train,
)
from kline_core.errors import EncoderError, SettingError
from kline_core.windows.charts import render_charts
from kline_core.windows.similarity import Shapes, pair_scores


@pytest.fixture(scope="module")
def pool():
    return WindowPool.from_bars(synthetic_market(60, 150, 1), stride=3, seed=1, window_bars=4)


@pytest.fixture
def small(monkeypatch):
    """Batches of sixteen, and one thread, since threads that wait for each other on a busy core take seconds."""
    monkeypatch.setattr(training, "GROUPS", 4)
    monkeypatch.setattr(training, "GROUP_SIZE", 4)
    monkeypatch.setattr(training, "NEIGHBOURS", 40)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_pool_holds_every_nth_window_once():
    bars = random_walk(3, 40, 0)
    made = WindowPool.from_bars(bars, stride=7, seed=2, window_bars=10)
    ends = range(9, 40, 7)
    expected = {tuple(bars.close[s, end - 9 : end + 1].astype(np.float32)) for s in range(3) for end in ends}
    assert len(made) == 3 * len(ends) == len(expected)
    assert {tuple(row) for row in made.close} == expected
    for prices in (made.open, made.high, made.low, made.close):
        assert prices.shape == (15, 10)
        assert prices.dtype == np.float32
    charts = made.charts(np.array([3, 1]))
    rows = [[p[at].astype(np.float64) for at in (3, 1)] for p in (made.open, made.high, made.low, made.close)]
    np.testing.assert_array_equal(charts, render_charts(*np.array(rows)))


def test_the_pool_is_shuffled_and_the_same_again():
    bars = random_walk(3, 40, 0)
    one, same, other = (WindowPool.from_bars(bars, 7, seed, 10) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.close, same.close)
    assert (one.close != other.close).any()


def test_the_pool_of_the_default_encoder_has_windows_of_twenty_bars():
    made = WindowPool.synthetic(3, n_symbols=2, n_bars=40)
    assert made.close.shape == (6, 20)


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_groups_of_near_neighbours(pool, seed):
    at = batch_positions(pool, np.random.default_rng(seed))
    assert at.shape == (GROUPS * GROUP_SIZE,)
    assert at.min() >= 0
    assert at.max() < len(pool)
    closes = pool.shapes.closes
    near = []
    for anchor, *others in at.reshape(GROUPS, GROUP_SIZE):
        assert len({anchor, *others}) == GROUP_SIZE
        likeness = closes @ closes[anchor]
        likeness[anchor] = np.inf
        rank = np.array([(likeness > likeness[other]).sum() for other in others])
        assert rank.max() <= NEIGHBOURS
        near.append((rank <= 10).mean())
    assert 0.2 < np.mean(near) < 0.6, "ranks are log-uniform: about a third lies below ten"


def test_a_batch_comes_from_one_stretch_of_the_pool(pool, monkeypatch):
    monkeypatch.setattr(training, "STRETCH", 100)
    starts = []
    for seed in range(5):
        at = batch_positions(pool, np.random.default_rng(seed))
        assert np.ptp(at) < 100
        starts.append(at.min())
    assert len(set(starts)) > 1


def test_all_pairs_are_scored(pool):
    at = np.arange(7)
    scores = score_matrix(pool.shapes[at])
    assert scores.dtype == np.float32
    for i in range(7):
        for j in range(7):
            one, other = pool.shapes[at[i : i + 1]], pool.shapes[at[j : j + 1]]
            expected = 1.0 if i == j else pair_scores(one, other)[0]
            assert scores[i, j] == pytest.approx(expected, abs=1e-6)


def test_the_losses_are_those_of_plain_loops(monkeypatch):
    monkeypatch.setattr(training, "GROUP_SIZE", 3)
    rng = np.random.default_rng(0)
    cosine, target = rng.uniform(-0.3, 1, (2, 9, 9))
    inside, across, ranks = [], [], []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        for j in others:
            (inside if i // 3 == j // 3 else across).append((cosine[i, j] - target[i, j]) ** 2)
        teacher = np.exp(target[i, others] / 0.05)
        student = np.exp(cosine[i, others] / 0.05)
        teacher, student = teacher / teacher.sum(), student / student.sum()
        ranks.append(sum(p * np.log(p / q) for p, q in zip(teacher, student, strict=True)))
    pair, rank = similarity_losses(torch.from_numpy(cosine), torch.from_numpy(target))
    assert pair.item() == pytest.approx(0.5 * np.mean(inside) + 0.5 * np.mean(across))
    assert rank.item() == pytest.approx(np.mean(ranks))


def test_a_student_that_agrees_has_no_loss():
    target = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    pair, rank = similarity_losses(target.clone().requires_grad_(), target)
    assert pair.item() == 0
    assert rank.item() == pytest.approx(0, abs=1e-6)
    pair, rank = similarity_losses(cosine := target.flip(0).requires_grad_(), target)
    (pair + rank).backward()
    assert torch.isfinite(cosine.grad).all()
    assert (cosine.grad.diagonal() == 0).all()


def weights(result):
    return [tensor.numpy() for half in (result.encoder, result.decoder) for tensor in half.state_dict().values()]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_training_lowers_the_losses_and_comes_out_the_same_again(pool):
    seen = []
    one = train(pool, 200, seed=4, dim=8, device="cpu", progress=lambda step, losses: seen.append((step, losses)))
    assert [step for step, _ in seen] == [100, 200]
    assert [losses for _, losses in seen] == one.history
    first, last = one.history
    assert last.pair < first.pair
    assert last.rank < first.rank
    assert last.pixel < first.pixel
    assert 0.3 < one.random_score < 0.9
    assert one.encoder.window_bars == 4

    again = train(pool, 200, seed=4, dim=8, device="cpu")
    for a, b in zip(weights(one), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_losses_on_one_line():
    assert Losses(0.1, 0.02, 0.3).line() == "pair 0.1000 rank 0.0200 pixel 0.3000"


def test_too_few_steps(pool):
    with pytest.raises(SettingError, match="steps is 99; it must be between 100 and 1000000"):
        train(pool, 99)


def test_too_few_windows():
    shapes = Shapes(*(np.zeros((2 * NEIGHBOURS - 1, n), np.float32) for n in (20, 19, 6)))
    prices = np.ones((2 * NEIGHBOURS - 1, 20), np.float32)
    with pytest.raises(SettingError, match="1999 windows are too few to train on; give at least 2000"):
        train(WindowPool(prices, prices, prices, prices, shapes), 100)


def test_a_device_that_is_not_there(pool):
    with pytest.raises(EncoderError, match="'gpu' cannot be used"):
        train(pool, 100, device="gpu")
