"""How a tuned model decides: for the aim and at the class shares that the frozen one had, chosen anew on the samples that were set aside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import FitError
from headstart.data.splits import folds
from headstart.evaluation.decision import shift_prior
from headstart.model import aim as aims
from headstart.model.model import Model
from headstart.model.rule import MOST_PROBABLE, Rule
from headstart.verbs.tune_ground import ASIDE, Ground

_OTHER_LABELS = "the frozen model's decision rule and deployment prior are of other labels, and were not taken over: choose them again"


@dataclass(frozen=True)
class Deciding:
    """What stands between a tuned network's probabilities and its answers.

    Attributes:
        rule: which label is answered.
        prior: class shares of what was trained on; None without labels.
        deployed: class shares where the model is used; None where they are those of the training samples.
        chosen: (aside,) what the samples that were set aside are answered, each by a rule that the other folds chose; None without a rule.
        notes: what was met, one sentence each.
    """

    rule: Rule
    prior: tuple[float, ...] | None = None
    deployed: tuple[float, ...] | None = None
    chosen: Int[np.ndarray, "n"] | None = None
    notes: tuple[str, ...] = ()

    def shifted(self, predicted: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Probabilities at the class shares where the model is used."""
        if self.prior is None or self.deployed is None:
            return predicted
        return shift_prior(predicted, prior=np.array(self.prior), deployed=np.array(self.deployed))


def check_aim(model: Model, ground: Ground, *, optimise: str | None) -> None:
    """Refuse what the decisions of a tuned model cannot be good at, before it is trained.

    Raises:
        UsageError: the task decides by no rule, there is no such label, or it does not go with the deployment prior.
        DataError: the file of costs cannot be used.
    """
    aim = aims.parse(optimise or "")
    aims.check(aim, task=ground.task.name, labels=ground.y.labels)
    aims.check_shares(aim, model.deployment_prior if ground.y.labels == model.labels else None)


def deciding(
    model: Model, ground: Ground, *, predicted: Float[np.ndarray, "aside k"], optimise: str | None = None
) -> Deciding:
    """Choose the rule of a tuned model.

    Args:
        model: the frozen one.
        ground: of the tuning.
        predicted: calibrated probabilities of the samples that were set aside, at the class shares of the training samples.
        optimise: what decisions are to be good at, as `fit` takes it; None: what the frozen model's are.

    Raises:
        DataError: the file of costs cannot be used.
    """
    labels = ground.y.labels
    if ground.task.link != "softmax":
        return Deciding(Rule(), _prior(ground))
    same = labels == model.labels
    own = Deciding(Rule(), _prior(ground), deployed=model.deployment_prior if same else None)
    plain = model.rule == Rule() and model.deployment_prior is None
    notes = () if same or plain else (_OTHER_LABELS,)
    at_use = own.shifted(predicted)
    if optimise is None and same and model.rule.costs is not None:  # the file of them may be gone
        return Deciding(model.rule, own.prior, own.deployed, model.rule.choose(at_use), notes)
    kept = model.rule.name if same and model.rule.name != MOST_PROBABLE else ""
    y = ground.y.take(ground.aside_rows)
    try:
        found = aims.decide(
            aims.parse(kept if optimise is None else optimise),
            at_use,
            targets=y.values,
            fold=folds(y.values, task=y.task, groups=ground.aside_groups, n_folds=ASIDE),
            labels=labels,
            prior=np.array(own.deployed or own.prior),
        )
    except FitError as error:  # no reason to lose what was trained
        return Deciding(
            Rule(), own.prior, own.deployed, Rule().choose(at_use), (*notes, f"{error}; the most probable is answered")
        )
    return Deciding(found.rule, own.prior, own.deployed, found.chosen, notes + found.notes)


def _prior(ground: Ground) -> tuple[float, ...] | None:
    labels = ground.y.labels
    return tuple(ground.classes[label] / len(ground.fit_rows) for label in labels) if labels else None


def not_taken_over(teacher: Model) -> tuple[str, ...]:
    """What a teacher decides by and its student does not, a sentence; the aim of a rule of offsets is taken over by fitting for it."""
    own = {"rule of costs": teacher.rule.costs, "deployment prior": teacher.deployment_prior}
    left = " and the ".join(name for name, value in own.items() if value is not None)
    return (f"the {left} of the teacher were not taken over: choose them for the student again",) if left else ()
