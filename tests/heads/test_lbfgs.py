"""Several functions minimised side by side, against their known minima."""

import numpy as np
import pytest
import torch

from headstart.heads.lbfgs import minimise


def quadratics(curvatures: np.ndarray, minima: np.ndarray):
    """`sum_j c_j (x_j - m_j)^2 / 2` a row, and how often it was asked."""
    c, m = torch.from_numpy(curvatures), torch.from_numpy(minima)
    asked: list[int] = []

    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(1)
        return (c * (x - m) ** 2).sum(dim=1) / 2, c * (x - m)

    return function, asked


def planted(rows: int = 3, p: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return np.tile(np.geomspace(1.0, 1e-4, p), (rows, 1)), rng.standard_normal((rows, p))


def test_it_finds_the_minima() -> None:
    curvatures, minima = planted()
    function, _ = quadratics(curvatures, minima)
    found = minimise(function, torch.zeros(3, 40).double(), metric=torch.ones(40).double(), steps=400, tolerance=0.0)
    assert float((function(found)[0]).max()) < 1e-7


def test_a_metric_near_the_inverse_of_the_hessian_saves_steps() -> None:
    curvatures, minima = planted()
    asked = {}
    for name, metric in (("plain", np.ones(40)), ("bent", 1 / curvatures[0])):
        function, count = quadratics(curvatures, minima)
        minimise(function, torch.zeros(3, 40).double(), metric=torch.from_numpy(metric), steps=400, tolerance=1e-9)
        asked[name] = len(count)
    assert asked["bent"] <= 5 < asked["plain"] / 5


def test_what_one_finds_does_not_depend_on_the_others() -> None:
    curvatures, minima = planted()
    curvatures[2] *= 100.0
    start, metric = torch.zeros(3, 40).double(), torch.ones(40).double()
    together = minimise(quadratics(curvatures, minima)[0], start, metric=metric, steps=30, tolerance=1e-6)
    for i in range(3):
        one = quadratics(curvatures[i : i + 1], minima[i : i + 1])[0]
        alone = minimise(one, start[:1], metric=metric, steps=30, tolerance=1e-6)
        np.testing.assert_allclose(together[i].numpy(), alone[0].numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_into_nonsense_is_taken_back(bad: float) -> None:
    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = (x**2).sum(dim=1).double()
        return value.where(x[:, 0] > -0.5, bad), 2 * x

    found = minimise(function, torch.ones(1, 2), metric=torch.full((2,), 10.0), steps=50, tolerance=1e-12)
    assert float(function(found)[0]) < 1e-6
