"""A small network of one hidden layer, fitted by gradients and stopped early; for many rows that a line cannot tell apart.

GELU in its tanh form, dropout, AdamW at a constant rate, from small random weights and the log shares of the labels. It stops where the
rows of the folds, which no gradient has seen, say so: how many epochs is chosen out of fold, as penalties are, and the head is then
fitted on all rows for as long. The folds are fitted side by side as one batched problem. On a CPU a seed decides everything.
Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016; Srivastava et al., Dropout, 2014; Loshchilov and Hutter, Decoupled Weight
Decay Regularization, 2019. No inner part is held out for stopping: that would cost rows, and a part drawn evenly would split groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, Scorer, bent_head, positive, scored_point, whole
from headstart.heads.fitted import Head
from headstart.heads.losses import Objective, check_loss, objective
from headstart.heads.rows import arithmetic
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

EPOCHS = (1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 256)
"""Where the network is looked at; after two looks that are worse out of fold it is left."""

NARROWEST, WIDEST = 512, 2048
"""The hidden layer has a fiftieth as many units as there are rows, up to twice the columns, within these bounds."""

ROWS = 20_000
FLOPS = {"cpu": 5e12, "cuda": 5e14}
"""`auto` tries the network from so many rows on, and up to so many operations, by estimate: about a minute on two cores."""

BATCH = (16, 256)
"""A step takes a sixteenth of the rows, within these bounds."""

_USUAL_EPOCHS = 20


@dataclass(frozen=True)
class Perceptron(SelfFitting, Family):
    """A network of one hidden layer.

    Attributes:
        hidden: its width; None: from the number of rows and columns.
        epochs: passes over the rows; None: chosen by cross-validation.
        dropout: the share of hidden units left out in each step, from 0 to below 1.
        learning_rate: of AdamW.
        weight_decay: of AdamW, on the weights; 0 for none.
        loss: one of `headstart.heads.losses.LOSSES`; for one label of several only.
        smoothing: of the targets of cross-entropy, from 0 to below 1.
        seed: of the first weights, the order of the rows, and dropout.
    """

    hidden: int | None = None
    epochs: int | None = None
    dropout: float = 0.2
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    loss: str = "cross_entropy"
    smoothing: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "mlp"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")
    linear: ClassVar[bool] = False
    cost: ClassVar[int] = 6
    patience: ClassVar[int] = 2
    fewest: ClassVar[int] = ROWS

    def check(self) -> None:
        """Refuse an option that is out of range."""
        for option, value in (("hidden", self.hidden), ("epochs", self.epochs)):
            if value is not None:
                whole(value, recipe=self.name, option=option)
        whole(self.seed, recipe=self.name, option="seed", least=0)
        positive(self.learning_rate, recipe=self.name, option="learning_rate")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"mlp takes for 'dropout' a number from 0 to below 1, and got {self.dropout}")
        if not 0 <= self.weight_decay < float("inf"):
            raise UsageError(f"mlp takes for 'weight_decay' a number from 0 up, and got {self.weight_decay}")
        check_loss(self.loss, smoothing=self.smoothing)

    def objection(self, study: Study) -> str:
        """Left out where it would take very long."""
        n = len(study.rows)
        flops = 6.0 * n * self._width(study) * (study.rows.width + study.k) * len(study.parts) * _USUAL_EPOCHS
        limit = FLOPS[study.rows.device]
        return (
            f"mlp was left out: it would take about {flops:.0e} operations, past {limit:.0e}" if flops > limit else ""
        )

    def path(self, study: Study) -> Iterator[Point]:
        """The network after more and more epochs."""
        recipe = self._for(study)
        networks = Networks.start(study, recipe, held_out=tuple(range(len(study.parts))))
        done = 0
        for epochs in EPOCHS if self.epochs is None else (self.epochs,):
            networks.train(epochs - done)
            done = epochs
            yield scored_point(
                study, recipe=replace(recipe, epochs=epochs), scorers=networks.scorers(), beside=networks.width
            )

    def solve(self, study: Study) -> Head:
        """The network of all rows."""
        recipe = self._for(study)
        networks = Networks.start(study, recipe, held_out=(None,))
        networks.train(whole(self.epochs, recipe=self.name, option="epochs"))
        weight, bias, output, level = (part.double().cpu().numpy() for part in networks.snapshot(0))
        return bent_head(
            study,
            hidden=(weight, bias),
            activation="gelu_tanh",
            output=(output, level),
            centre=networks.mean_hidden(),
        )

    def _for(self, study: Study) -> "Perceptron":
        """The recipe with its width set.

        Raises:
            UsageError: an option is out of range, or the task has other losses.
        """
        self.check()
        if study.link != "softmax" and (self.loss != "cross_entropy" or self.smoothing):
            raise UsageError(
                "mlp takes another loss and smoothed targets where each sample has one label of several only"
            )
        return replace(self, hidden=self._width(study))

    def _width(self, study: Study) -> int:
        return units(len(study.rows), study.rows.width) if self.hidden is None else self.hidden


def units(n: int, columns: int) -> int:
    """The width of a hidden layer for n rows, a power of two."""
    wanted = min(n // 50, 2 * columns)
    return int(np.clip(1 << max(wanted - 1, 0).bit_length(), NARROWEST, WIDEST))


@dataclass(frozen=True)
class Networks:
    """Networks without each of some folds, side by side: a fit in progress, whose parameters change in place.

    Attributes:
        study: rows, targets and folds.
        recipe: with its width set.
        training: of each network the positions of its rows.
        batch: how many rows of each network a step takes.
        objective: the loss, with what it takes from each network's rows; None for other links than softmax.
        parameters: weight (m, r, h) and bias (m, 1, h) of the hidden layers, weight (m, h, k) and bias (m, 1, k) of the outputs.
        optimiser: of the parameters.
        order: what shuffles the rows.
        noise: what dropout draws from.
    """

    study: Study
    recipe: Perceptron
    training: tuple[Int[np.ndarray, "n"], ...]
    batch: int
    objective: Objective | None
    parameters: tuple["torch.Tensor", ...]
    optimiser: "torch.optim.Optimizer"
    order: np.random.Generator
    noise: "torch.Generator"

    @classmethod
    def start(cls, study: Study, recipe: Perceptron, *, held_out: tuple[int | None, ...]) -> "Networks":
        """Small random weights in the hidden layer, none in the output, and the bias of the label shares.

        Args:
            study: rows, targets and folds.
            recipe: with its width set.
            held_out: for each network the fold that it does not see, or None.
        """
        import torch

        rng, r, h, m = np.random.default_rng(recipe.seed), study.rows.width, int(recipe.hidden or 0), len(held_out)
        training = tuple(np.flatnonzero(study.fold != (-1 if number is None else number)) for number in held_out)
        targets = np.stack([study.training(number).targets.cpu().numpy() for number in held_out])
        softmax = study.link == "softmax"
        loss = objective(recipe.loss, targets[:, None], smoothing=recipe.smoothing) if softmax else None
        first = rng.standard_normal((m, r, h), dtype=np.float32) / np.sqrt(r)
        level = _level(targets, training, loss, study.link)
        arrays = (first, np.zeros((m, 1, h)), np.zeros((m, h, study.k)), level[:, None])
        parameters = tuple(torch.from_numpy(each).float().to(study.rows.device).requires_grad_() for each in arrays)
        weights = {"params": parameters[::2], "weight_decay": recipe.weight_decay}
        biases = {"params": parameters[1::2], "weight_decay": 0.0}
        optimiser = torch.optim.AdamW([weights, biases], lr=recipe.learning_rate)
        noise = torch.Generator(study.rows.device).manual_seed(recipe.seed)
        batch = int(np.clip(len(study.rows) // 16, *BATCH))
        return cls(study, recipe, training, batch, loss, parameters, optimiser, rng, noise)

    @property
    def width(self) -> int:
        """h, how wide the hidden layers are."""
        return int(self.parameters[1].shape[-1])

    def train(self, epochs: int) -> None:
        """So many passes over each network's rows; one with fewer rows than another sees some twice."""
        steps = max(-(-len(rows) // self.batch) for rows in self.training)
        with arithmetic(2.0 * len(self.training) * self.batch * self.study.rows.width * self.width):
            for _ in range(epochs):
                size = steps * self.batch
                orders = np.stack([np.resize(self.order.permutation(rows), size) for rows in self.training])
                for start in range(0, size, self.batch):
                    self._step(orders[:, start : start + self.batch])

    def _step(self, rows: Int[np.ndarray, "m b"]) -> None:
        import torch

        z = self.study.rows.take(rows.reshape(-1)).view(*rows.shape, -1) * np.sqrt(self.study.rows.width)
        weight, bias, output, level = self.parameters
        hidden = torch.nn.functional.gelu(torch.baddbmm(bias, z, weight), approximate="tanh")
        keep = 1.0 - self.recipe.dropout
        if keep < 1:
            hidden = hidden * (torch.empty_like(hidden).bernoulli_(keep, generator=self.noise) / keep)
        loss = self._losses(torch.baddbmm(level, hidden, output), rows).mean(dim=1).sum()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _losses(self, scores: "torch.Tensor", rows: Int[np.ndarray, "m b"]) -> "torch.Tensor":
        """(m, b) losses."""
        import torch

        if self.objective is not None:
            return self.objective.losses(scores, torch.from_numpy(self.study.y.values[rows]).to(scores.device))
        codes = self.study.codes(rows.reshape(-1)).view(scores.shape)
        if self.study.link == "sigmoid":
            return torch.nn.functional.softplus(-codes * scores).mean(dim=2)
        return ((scores - codes) ** 2).mean(dim=2)

    def snapshot(self, number: int) -> list["torch.Tensor"]:
        """Weight and bias of one network's hidden layer, then of its output, for rows of the z space and the training prior."""
        import torch

        weight, bias, output, level = (part.detach()[number].clone() for part in self.parameters)
        weight *= np.sqrt(self.study.rows.width)
        if self.objective is not None:
            level += torch.from_numpy(self.objective.shift[number]).to(level)
        return [weight, bias[0], output, level[0]]

    def scorers(self) -> list[Scorer]:
        """What each network scores now."""

        def scorer(parts: list["torch.Tensor"]) -> Scorer:
            def score(z: "torch.Tensor") -> np.ndarray:
                return np.asarray((_hidden(z, parts) @ parts[2] + parts[3]).double().cpu().numpy())

            return score

        return [scorer(self.snapshot(number)) for number in range(len(self.training))]

    def mean_hidden(self) -> Float[np.ndarray, "h"]:
        """The mean row of the first network's hidden layer."""
        parts, rows = self.snapshot(0), self.study.rows
        total = np.zeros(self.width)
        for _, z in rows.chunks(beside=2 * self.width):
            total += _hidden(z, parts).double().sum(dim=0).cpu().numpy()
        return total / len(rows)


def _hidden(z: "torch.Tensor", parts: list["torch.Tensor"]) -> "torch.Tensor":
    import torch

    return torch.nn.functional.gelu(torch.addmm(parts[1], z, parts[0]), approximate="tanh")


def _level(
    targets: Float[np.ndarray, "m k"], training: tuple[np.ndarray, ...], loss: Objective | None, link: str
) -> Float[np.ndarray, "m k"]:
    """The output's first bias: what a network that knows no rows would answer."""
    n = np.array([[len(rows)] for rows in training], dtype=np.float64)
    if loss is not None:
        return np.asarray(np.log((targets + 0.5) / n * loss.by_class[:, 0]) - loss.log_prior[:, 0])
    if link == "sigmoid":
        ones = (targets + n) / 2
        return np.asarray(np.log(ones + 0.5) - np.log(n - ones + 0.5))
    return np.zeros_like(targets)


PLUGIN = Perceptron()
