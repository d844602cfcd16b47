"""Learned weights over the layers of a network: their weighted sum, then logistic regression; for rows of several layers side by side.

`scores = sum_l a_l z_l @ W + b`, with a softmax over layers in `a`, and each layer `z_l` centred and of mean squared length 1, so that none
wins by its unit; `mean cross-entropy + penalty / 2 s^2 |W|^2` with `s^2` the mean squared length of a mixed row. Source: Yang et al.,
SUPERB: Speech processing Universal PERformance Benchmark, 2021, section 3. They learn the weights by the steps of the downstream network;
here weights and W are found together by L-BFGS, without each fold, along logistic regression's path of penalties. The recipe then tells
the mean weights of the folds, and the shipped head is logistic regression on all rows mixed so: one `Linear` of the raw rows, whose block
l is `a_l / scale_l W`.

A penalty on `|W|^2` alone would favour single layers, as the sum of layers that differ is shorter than each, and W the longer for it: of
two planted layers with half of the signal each it took one alone in four draws of eight. In `a` and W together the objective is not
convex: from even weights the path, whose first penalties leave W little room, leads to a minimum.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, Solution, linear_point, positive, whole
from headstart.heads.fitted import Head, Linear
from headstart.heads.lbfgs import minimise
from headstart.heads.logistic import PENALTIES, Logistic, Problem
from headstart.heads.losses import cross_entropy
from headstart.heads.rows import RESIDENT_BYTES, arithmetic, slices
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study, make_study

if TYPE_CHECKING:
    import torch

_STEPS, _TOLERANCE = 100, 1e-5
_DIGITS = 4
"""Weights are told, and used, to so many digits."""


@dataclass(frozen=True)
class LayerWeights(SelfFitting, Family):
    """A weighted sum of layers, then logistic regression.

    Attributes:
        layers: how many layers of one width stand side by side in a row.
        penalty: as for `logistic`, on mixed rows of mean squared length 1; None: chosen by cross-validation.
        weights: one a layer, of any sum; None: learned.
    """

    layers: int
    penalty: float | None = None
    weights: tuple[float, ...] | None = None

    name: ClassVar[str] = "layer_weights"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label")
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 5
    patience: ClassVar[int] = 2
    unasked: ClassVar[bool] = False

    def check(self) -> None:
        """Refuse an option that is out of range."""
        whole(self.layers, recipe=self.name, option="layers", least=2)
        if self.penalty is not None:
            positive(self.penalty, recipe=self.name, option="penalty")
        if self.weights is not None:
            self._shares()

    def objection(self, study: Study) -> str:  # noqa: ARG002  (whatever the data)
        """Rows do not tell of how many layers they are."""
        return "layer_weights was left out: it has to be told how many layers there are"

    def path(self, study: Study) -> Iterator[Point]:
        """From strong to weak penalties, each starting from the weights and W of the one before."""
        self.check()
        mixtures = Mixtures.of(study, self.layers, fixed=None if self.weights is None else self._shares())
        at = mixtures.start()
        for penalty in PENALTIES if self.penalty is None else (self.penalty,):
            at = mixtures.solve(penalty, at)
            told = self.weights or tuple(round(float(one), _DIGITS) for one in mixtures.weights(at).mean(axis=0))
            recipe = replace(self, penalty=penalty, weights=told)
            yield linear_point(study, recipe=recipe, solutions=mixtures.solutions(at))

    def solve(self, study: Study) -> Head:
        """Logistic regression on all rows, mixed by the weights; the mixed rows are held in memory."""
        self.check()
        shares, penalty = self._shares(), positive(self.penalty, recipe=self.name, option="penalty")
        stack = Stack.of(study, self.layers)
        mixed = np.empty((len(study.rows), stack.width), dtype=np.float32)
        for part in slices(len(mixed), study.d):
            mixed[part] = np.einsum("l,lnw->nw", shares, stack.take(part))
        own = make_study(mixed, study.y)
        head = Logistic(penalty=penalty).solve(own)
        assert isinstance(head, Linear)
        weight = stack.unfold(shares, head.weight.astype(np.float64)).astype(np.float32)
        return Linear(weight, np.asarray(head.bias - study.rows.mean @ weight, dtype=np.float64), study.link)

    def _shares(self) -> Float[np.ndarray, "l"]:
        """The weights at the sum of 1."""
        given: object = self.weights  # a recipe's text may hold anything
        shares = [one for one in given if _share(one)] if isinstance(given, tuple) else []
        if not isinstance(given, tuple) or not len(shares) == len(given) == self.layers or not sum(shares) > 0:
            raise UsageError(
                f"{self.name} takes for 'weights' one number a layer, from 0 up and not all 0, and got {self.weights!r}"
            )
        return np.asarray(np.asarray(shares, dtype=np.float64) / sum(shares))


def _share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < float("inf")


@dataclass(frozen=True)
class Stack:
    """The layers of each row, centred and of mean squared length 1.

    Attributes:
        study: whose rows they are.
        scales: (l,) the root of each layer's mean squared distance from its mean; 1.0 for a layer without spread.
        covariance: (w, w) the mean of the layers' covariances.
        products: (l, l) the mean inner products of a row's layers.
    """

    study: Study
    scales: Float[np.ndarray, "l"]
    covariance: Float[np.ndarray, "w w"]
    products: Float[np.ndarray, "l l"]

    @classmethod
    def of(cls, study: Study, layers: int) -> "Stack":
        """Their sums in one pass.

        Raises:
            UsageError: the rows are not so many layers of one width.
        """
        if study.d % layers:
            raise UsageError(
                f"layer_weights takes {layers} layers of one width side by side, and the rows have {study.d} columns: "
                "set layers to how many are read"
            )
        width, n = study.d // layers, len(study.rows)
        grams, products = np.zeros((layers, width, width)), np.zeros((layers, layers))
        with arithmetic(2.0 * n * width**2):
            for part in slices(n, study.d):
                rows = _layers(study, part, np.ones(layers))
                grams += rows.transpose(0, 2, 1) @ rows
                flat = rows.reshape(layers, -1)
                products += flat @ flat.T
        squared = np.diagonal(products) / n
        scales = np.where(squared > 0, np.sqrt(squared), 1.0)
        covariance = np.asarray((grams / (n * scales[:, None, None] ** 2)).mean(axis=0))
        return cls(study, scales, covariance, np.asarray(products / (n * np.outer(scales, scales))))

    @property
    def width(self) -> int:
        """w, how many columns a layer has."""
        return len(self.covariance)

    def take(self, part: slice) -> Float[np.ndarray, "l m w"]:
        """The layers of some rows."""
        return _layers(self.study, part, self.scales)

    def unfold(self, shares: Float[np.ndarray, "l"], weight: Float[np.ndarray, "w k"]) -> Float[np.ndarray, "d k"]:
        """The weight of a mixed row as one of the raw rows' columns."""
        return np.concatenate([share / scale * weight for share, scale in zip(shares, self.scales, strict=True)])


def _layers(study: Study, part: slice, scales: Float[np.ndarray, "l"]) -> Float[np.ndarray, "l m w"]:
    rows = np.asarray(study.rows.x[part], dtype=np.float64) - study.rows.mean
    return np.asarray(rows.reshape(len(rows), len(scales), -1).transpose(1, 0, 2) / scales[:, None, None])


@dataclass(frozen=True)
class Mixtures:
    """The regressions without each fold, as functions of (folds, k w + k + l) parameters: W class by class, bias, logits of the weights.

    W is in the eigenvectors of the layers' mean covariance, where the Hessian is more nearly diagonal, as in `logistic`.

    Attributes:
        stack: the layers.
        values: (w,) eigenvalues.
        vectors: (w, w) eigenvectors in columns.
        fixed: (l,) weights that are not learned, or None.
    """

    stack: Stack
    values: Float[np.ndarray, "w"]
    vectors: Float[np.ndarray, "w w"]
    fixed: Float[np.ndarray, "l"] | None = None

    @classmethod
    def of(cls, study: Study, layers: int, *, fixed: Float[np.ndarray, "l"] | None = None) -> "Mixtures":
        """Scale the layers and find their axes."""
        stack = Stack.of(study, layers)
        with arithmetic(float(stack.width) ** 3 / 10):
            values, vectors = np.linalg.eigh(stack.covariance)
        return cls(stack, np.maximum(values, 0.0), vectors, fixed)

    def start(self) -> "torch.Tensor":
        """No W, the bias of the label shares, even weights."""
        import torch

        study = self.stack.study
        bias = Problem(study, tuple(range(len(study.parts)))).start()[..., -1]
        size = study.k * self.stack.width
        return torch.nn.functional.pad(bias, (size, len(self.stack.scales)))

    def weights(self, at: "torch.Tensor") -> Float[np.ndarray, "f l"]:
        """The weights of the layers without each fold."""
        return np.asarray(self._parts(at)[2].double().cpu().numpy())

    def solutions(self, at: "torch.Tensor") -> list[Solution]:
        """Weight and bias without each fold, in the study's z space."""
        rows = self.stack.study.rows
        weight, bias, shares = (part.double().cpu().numpy() for part in self._parts(at))
        found = []
        for own, level, share in zip(weight, bias, shares, strict=True):
            raw = self.stack.unfold(share, self.vectors @ own.T) * rows.scale
            found.append((raw if rows.basis is None else rows.basis.T @ raw, level))
        return found

    def solve(self, penalty: float, start: "torch.Tensor") -> "torch.Tensor":
        """Minimise from a starting point."""
        import torch

        study, layers = self.stack.study, len(self.stack.scales)
        bend = 0.25 if study.link == "sigmoid" else (study.k - 1) / study.k**2
        weight = np.tile(bend * self.values + penalty, study.k)
        curvature = np.concatenate([weight, np.full(study.k, bend), np.full(layers, bend / layers)])
        with arithmetic(2.0 * len(study.rows) * start.numel()):
            return minimise(
                lambda at: self.value_and_gradient(at, penalty),
                start,
                metric=torch.from_numpy(1.0 / curvature).to(start),
                steps=_STEPS,
                tolerance=_TOLERANCE,
            )

    def value_and_gradient(self, at: "torch.Tensor", penalty: float) -> tuple["torch.Tensor", "torch.Tensor"]:
        """(folds,) objectives and their (folds, p) gradients: float32 products, summed in float64."""
        import torch

        at = at.detach().requires_grad_()
        weight, _, shares = self._parts(at)
        length = ((shares @ torch.from_numpy(self.stack.products).to(at)) * shares).sum(dim=1)
        value = 0.5 * penalty * length * (weight**2).sum(dim=(1, 2), dtype=torch.float64)
        (gradient,) = torch.autograd.grad(value.sum(), at)
        for part, rows in self._chunks():
            weight, bias, shares = self._parts(at)
            mixed = (shares @ rows.flatten(1)).view(len(at), *rows.shape[1:])
            scores = torch.baddbmm(bias[:, None], mixed, weight.transpose(1, 2))
            losses = (self._losses(scores, part) * self._rows(part)).sum(dim=1, dtype=torch.float64)
            gradient += torch.autograd.grad(losses.sum(), at)[0]
            value = value + losses
        return value.detach(), gradient

    def _parts(self, at: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
        """(f, k, w) W, (f, k) bias, (f, l) weights."""
        import torch

        k, width, layers = self.stack.study.k, self.stack.width, len(self.stack.scales)
        weight, bias, logits = at[:, : k * width], at[:, k * width : -layers], at[:, -layers:]
        if self.fixed is None:
            shares = torch.softmax(logits, dim=1)
        else:
            shares = torch.from_numpy(self.fixed).to(at).expand(len(at), -1)
        return weight.reshape(len(at), k, width), bias, shares

    def _losses(self, scores: "torch.Tensor", part: slice) -> "torch.Tensor":
        """(f, m) losses of (f, m, k) scores."""
        import torch

        study = self.stack.study
        if study.link == "sigmoid":
            return torch.nn.functional.softplus(-study.codes(part) * scores).sum(dim=2)
        return cross_entropy(scores, torch.from_numpy(study.y.values[part]).to(scores.device))

    def _rows(self, part: slice) -> "torch.Tensor":
        """(f, m) the weight of each row without each fold: one over how many there are, or 0 where it is held out."""
        import torch

        study = self.stack.study
        shares = [(study.fold[part] != f) / (len(study.rows) - own.n) for f, own in enumerate(study.parts)]
        return torch.from_numpy(np.stack(shares)).float().to(study.rows.device)

    def _chunks(self) -> Iterator[tuple[slice, "torch.Tensor"]]:
        """(l, m, w) rows in the eigenvectors' coordinates, a slice at a time."""
        study = self.stack.study
        for part in slices(len(study.rows), study.d + 2 * len(study.parts) * (self.stack.width + study.k)):
            yield part, self._turn(part) if self._turned is None else self._turned[:, part].contiguous()

    @cached_property
    def _turned(self) -> "torch.Tensor | None":
        """All of them, where they fit."""
        import torch

        n, d = self.stack.study.rows.x.shape
        return None if 4 * n * d > RESIDENT_BYTES else torch.cat([self._turn(part) for part in slices(n, 2 * d)], dim=1)

    def _turn(self, part: slice) -> "torch.Tensor":
        import torch

        return torch.from_numpy(self.stack.take(part) @ self.vectors).float().to(self.stack.study.rows.device)


PLUGIN = LayerWeights(layers=5)
