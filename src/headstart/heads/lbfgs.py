"""Limited-memory BFGS over several independent functions side by side: each has its own step and its own curvature.

Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5, with steps that are halved until Armijo's condition
holds. For convex functions, whose curvature pairs are positive without Wolfe's second condition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Function = Callable[["torch.Tensor"], tuple["torch.Tensor", "torch.Tensor"]]
"""From (m, p) parameters to (m,) float64 values and (m, p) gradients: one function a row."""

_MEMORY = 10
_DECREASE = 1e-4
_ROUNDING = 1e-7
"""Values in float32 arithmetic differ by so much, relatively, for no reason."""
_SHORTEN, _SHORTER = 0.3, 12


@dataclass
class _Pairs:
    """The last steps with the changes of gradient over them, newest last."""

    metric: "torch.Tensor"
    steps: list["torch.Tensor"]
    changes: list["torch.Tensor"]
    inverses: list["torch.Tensor"]
    level: "torch.Tensor"

    def add(self, step: "torch.Tensor", change: "torch.Tensor") -> None:
        """Keep a pair; a function whose pair has no curvature, as one that stands still, is given none."""
        curvature, length = _dot(step, change), _dot(change * self.metric, change)
        bent = curvature > 1e-10 * length
        self.inverses.append((1.0 / curvature).where(bent, 0.0))
        self.level = (curvature / length).where(bent, self.level)
        self.steps.append(step)
        self.changes.append(change)
        for one in (self.steps, self.changes, self.inverses):
            del one[:-_MEMORY]

    def direction(self, gradient: "torch.Tensor") -> "torch.Tensor":
        """The quasi-Newton direction by the two loops."""
        q, weights = gradient.clone(), []
        for step, change, inverse in zip(self.steps[::-1], self.changes[::-1], self.inverses[::-1], strict=True):
            weights.append(inverse * _dot(step, q))
            q -= weights[-1] * change
        q *= self.metric * self.level
        for step, change, inverse in zip(self.steps, self.changes, self.inverses, strict=True):
            q += step * (weights.pop() - inverse * _dot(change, q))
        return -q


def minimise(
    function: Function, start: "torch.Tensor", *, metric: "torch.Tensor", steps: int, tolerance: float
) -> "torch.Tensor":
    """The (m, p) parameters at which each function is least.

    A function whose value falls by less than `tolerance`, relative to the larger of its value and 1, or finds no lower value along
    its direction, stands still from then on; so what one finds does not depend on the others.

    Args:
        function: convex in each row.
        start: (m, p) where each begins.
        metric: (p,) positive: about the diagonal of the inverse of the Hessian, up to a factor.
        steps: at most so many.
        tolerance: see above.
    """
    import torch

    at, (value, gradient) = start, function(start)
    pairs = _Pairs(metric, [], [], [], torch.ones_like(start[:, :1]))
    moving = torch.ones(len(start), dtype=torch.bool, device=start.device)
    for _ in range(steps):
        direction = pairs.direction(gradient)
        slope = _dot(direction, gradient)[:, 0].double()
        length = torch.where(moving & (slope < 0), 1.0, 0.0).to(start)
        for _ in range(_SHORTER):
            new = at + length[:, None] * direction
            new_value, new_gradient = function(new)
            high = ~(new_value <= value + _DECREASE * length * slope + _ROUNDING * value.abs()) & (length > 0)
            if not bool(high.any()):
                break
            length = torch.where(high, _SHORTEN * length, length)
        failed = high[:, None]
        new, new_gradient = torch.where(failed, at, new), torch.where(failed, gradient, new_gradient)
        new_value = torch.where(high, value, new_value)
        pairs.add(new - at, new_gradient - gradient)
        moving = moving & (value - new_value > tolerance * value.abs().clamp(min=1.0))
        at, value, gradient = new, new_value, new_gradient
        if not bool(moving.any()):
            break
    return at


def _dot(a: "torch.Tensor", b: "torch.Tensor") -> "torch.Tensor":
    """(m, 1) inner products of rows."""
    return (a * b).sum(dim=1, keepdim=True)
