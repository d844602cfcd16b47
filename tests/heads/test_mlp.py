"""The small network: the shape that it becomes, what it learns, that a seed decides it, its losses and its refusals."""

import numpy as np
import pytest
import torch

from headstart.core.errors import UsageError
from headstart.evaluation.calibration import log_losses, softmax
from headstart.heads.fitted import Layer, Linear, Mlp
from headstart.heads.losses import LOSSES
from headstart.heads.mlp import Networks, Perceptron, units
from headstart.heads.selection import parse, select
from headstart.heads.statistics import make_study
from support.planted import blobs, exclusive, sectors, tags, targets, turns, values

SMALL = "mlp(hidden=32, epochs=4)"


@pytest.mark.parametrize("activation", ["relu", "gelu_tanh"])
def test_a_fitted_network_scores_as_torch_does_a_block_at_a_time(activation: str) -> None:
    rng = np.random.default_rng(0)
    layers = tuple(
        Layer(rng.standard_normal(shape).astype(np.float32), rng.standard_normal(shape[1]))
        for shape in ((6, 9), (9, 5))
    )
    head = Mlp(layers, rng.standard_normal((5, 3)).astype(np.float32), rng.standard_normal(3), activation, "softmax")
    x = 3 * rng.standard_normal((2500, 6))
    values = torch.from_numpy(x)
    for layer in layers:
        values = values @ torch.from_numpy(layer.weight).double() + torch.from_numpy(layer.bias)
        values = torch.relu(values) if activation == "relu" else torch.nn.functional.gelu(values, approximate="tanh")
    np.testing.assert_allclose(head.scores(x), values.numpy() @ head.weight + head.bias, atol=1e-12)
    with np.errstate(all="raise"):
        assert np.isfinite(head.scores(np.full((1, 6), 1e150))).all()
    assert head.scores(x[:0]).shape == (0, 3)


def test_memory_of_scoring_does_not_grow_with_rows_times_width() -> None:
    import tracemalloc

    head = Mlp(
        (Layer(np.zeros((2, 4096), np.float32), np.zeros(4096)),),
        np.zeros((4096, 2), np.float32),
        np.zeros(2),
        "relu",
        "softmax",
    )
    x = np.zeros((20_000, 2), np.float32)
    tracemalloc.start()
    head.scores(x)
    assert tracemalloc.get_traced_memory()[1] < x.shape[0] * 4096 * 8 / 8
    tracemalloc.stop()


@pytest.mark.parametrize("make", [blobs, tags, values])
@pytest.mark.parametrize("d", [10, 300])
def test_the_head_of_raw_rows_scores_as_the_network_did(make, d: int) -> None:
    x, y = make(150, d)
    head = Perceptron(hidden=40, epochs=5).fit(x, y)
    assert isinstance(head, Mlp)
    assert (head.activation, head.hidden[0].weight.shape) == ("gelu_tanh", (d, 40))
    study = make_study(x, y)
    networks = Networks.start(study, Perceptron(hidden=40, epochs=5), held_out=(None,))
    networks.train(5)
    expected = networks.scorers()[0](study.rows.take(np.arange(150))) * study.unit + study.offset
    np.testing.assert_allclose(head.scores(x), expected, atol=1e-4 * np.abs(expected).max())


def test_folds_side_by_side_are_the_folds_one_by_one() -> None:
    x, y = blobs(100, 6)
    study = make_study(x, y, fold=turns(100))
    recipe = Perceptron(hidden=20, epochs=3, dropout=0.0)
    together, alone = (Networks.start(study, recipe, held_out=which) for which in ((0, 0), (0,)))
    # The same start and order for the second network as for the first.
    with torch.no_grad():
        for part, one in zip(together.parameters, alone.parameters, strict=True):
            part[:] = one
    rows = np.flatnonzero(study.fold != 0)[:32]
    for _ in range(3):
        together._step(np.stack([rows, rows]))
        alone._step(rows[None])
    for part, one in zip(together.parameters, alone.parameters, strict=True):
        np.testing.assert_allclose(part[1].detach(), one[0].detach(), atol=1e-6)


def test_what_no_line_tells_apart_it_does_and_says_after_how_many_epochs() -> None:
    x, y = sectors(1200, 6)
    new, truth = sectors(1200, 6, seed=1)
    chosen = select(x, y, fold=turns(1200), recipe=parse("mlp(hidden=256, learning_rate=0.01)"))
    assert (chosen.head.scores(new).argmax(axis=1) == truth.values).mean() > 0.95
    epochs = [parse(one.recipe).epochs for one in chosen.candidates]
    assert epochs == sorted(set(epochs))
    losses = [one.log_loss for one in chosen.candidates]
    assert parse(chosen.recipe).epochs == epochs[int(np.argmin(losses))]


def test_it_stops_early_where_labels_are_noise() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 30)).astype(np.float32), targets(rng.integers(0, 2, 200))
    chosen = select(x, y, fold=turns(200), recipe=parse("mlp(hidden=64)"))
    assert len(chosen.candidates) < 12
    assert parse(chosen.recipe).epochs < 8
    assert log_losses(chosen.oof_scores, y.values, temperature=chosen.temperature, link="softmax").mean() < 0.75


def test_several_labels_and_numbers() -> None:
    x, y = tags(600)
    chosen = select(x, y, fold=turns(600), recipe=parse("mlp"))
    assert ((chosen.oof_scores > 0) == y.values).mean() > 0.85
    x, y = values(600)
    chosen = select(x, y, fold=turns(600), recipe=parse("mlp"))
    assert ((chosen.oof_scores[:, 0] - y.values) ** 2).mean() < 0.1 * y.values.var()


def test_a_seed_decides_it_and_a_shipped_string_fits_the_same_head_again() -> None:
    x, y = blobs(120, 6, gap=0.5)
    one, two = (select(x, y, fold=turns(120), recipe=parse("mlp(hidden=32)")) for _ in range(2))
    np.testing.assert_array_equal(one.oof_scores, two.oof_scores)
    np.testing.assert_array_equal(one.head.scores(x), two.head.scores(x))
    np.testing.assert_allclose(parse(one.recipe).fit(x, y).scores(x), one.head.scores(x), rtol=1e-6)
    other = parse(one.recipe.replace("seed=0", "seed=1")).fit(x, y)
    assert not np.allclose(other.scores(x), one.head.scores(x))


def test_a_class_of_one_row_and_equal_rows_stay_finite() -> None:
    x, y = blobs(60, 5)
    y = type(y)(np.where(np.arange(60) == 7, 3, y.values), ("a", "b", "c", "lonely"), "single_label")
    for loss in LOSSES:
        chosen = select(x, y, fold=turns(60), recipe=parse(f"mlp(hidden=32, epochs=8, loss='{loss}')"))
        assert np.isfinite(chosen.oof_scores).all()
        assert chosen.oof_scores[7].argmax() != 3
    assert np.isfinite(parse(SMALL).fit(np.full((60, 5), 3.0, np.float32), y).scores(x)).all()


def uneven(n: int = 3000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping classes, 20 to 1, whose log odds are known: a line."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 1 / 21).astype(int)
    return (rng.standard_normal((n, 2)) + np.where(y, 1.0, -1.0)[:, None] * 0.8).astype(np.float32), y


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_are_of_the_training_prior_where_there_is_a_way_back(loss: str) -> None:
    x, y = uneven()
    head = parse(f"mlp(hidden=64, epochs=30, loss='{loss}', weight_decay=0.0)").fit(x, targets(y))
    rare = softmax(head.scores(x))[:, 1].mean()
    if loss in {"cross_entropy", "balanced_softmax"}:
        assert rare == pytest.approx(y.mean(), abs=0.015)
    else:
        assert rare > y.mean() + 0.02


def test_balanced_softmax_is_cross_entropy_with_its_prior_taken_away_afterwards() -> None:
    x, y = uneven()
    new, truth = uneven(4000, seed=1)
    plain, balanced = (
        parse(f"mlp(hidden=64, epochs=30, loss='{loss}')").fit(x, targets(y)).scores(new)
        for loss in ("cross_entropy", "balanced_softmax")
    )
    prior = np.log(np.bincount(y) / len(y))
    recalls = [
        [((scores - prior).argmax(axis=1) == truth)[truth == c].mean() for c in (0, 1)] for scores in (plain, balanced)
    ]
    np.testing.assert_allclose(*recalls, atol=0.05)
    assert min(map(min, recalls)) > 0.75
    assert (plain.argmax(axis=1) == truth)[truth == 1].mean() < 0.6


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mlp(hidden=0)", "'hidden' a whole number from 1 up, and got 0"),
        ("mlp(epochs=1.5)", "'epochs' a whole number from 1 up, and got 1.5"),
        ("mlp(dropout=1.0)", "'dropout' a number from 0 to below 1, and got 1.0"),
        ("mlp(weight_decay=-1.0)", "'weight_decay' a number from 0 up, and got -1.0"),
        ("mlp(learning_rate=0.0)", "'learning_rate' a positive number, and got 0.0"),
        ("mlp(loss='fokal')", "there is none called 'fokal'. Did you mean 'focal'"),
        ("mlp(loss='focal', smoothing=0.1)", "takes no smoothed targets"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(text: str, sentence: str) -> None:
    x, y = blobs(30, 4)
    with pytest.raises(UsageError, match=sentence):
        select(x, y, fold=turns(30), recipe=parse(text))
    with pytest.raises(UsageError, match=sentence):
        parse(text).fit(x, y)


def test_other_tasks_have_no_other_loss() -> None:
    for make in (tags, values):
        with pytest.raises(UsageError, match="where each sample has one label of several only"):
            parse("mlp(loss='focal')").fit(*make(30, 4))


def test_auto_ships_what_bends_where_no_line_will_do_and_only_there() -> None:
    x, y = exclusive(2000)
    new, truth = exclusive(2000, seed=1)
    chosen = select(x, y, fold=turns(2000))
    assert isinstance(chosen.head, Mlp)
    assert chosen.recipe.startswith("random_features(")
    assert (chosen.head.scores(new).argmax(axis=1) == truth.values).mean() > 0.85
    assert chosen.notes == ("with 2,000 training samples, mlp (from 20,000 rows on) is not tried",)


def test_auto_ships_a_line_where_a_line_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Perceptron, "fewest", 2000)
    x, y = blobs(2000, 10, gap=1.5)
    chosen = select(x, y, fold=turns(2000))
    assert {"random_features", "mlp"} <= {one.family for one in chosen.candidates}
    assert isinstance(chosen.head, Linear)


def test_auto_says_why_it_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(*blobs(200, 4))
    assert Perceptron().objection(study) == ""
    monkeypatch.setattr("headstart.heads.mlp.FLOPS", {"cpu": 1.0, "cuda": 1.0})
    assert "it would take about" in Perceptron().objection(study)


def test_the_width_follows_rows_and_columns() -> None:
    sizes = ((500, 512), (40_000, 512), (10**6, 512), (10**6, 3000))
    assert [units(n, columns) for n, columns in sizes] == [512, 1024, 1024, 2048]
