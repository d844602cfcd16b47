"""A smaller network, of any family, taught by the model on the samples that it was fitted on."""

from collections.abc import Iterator
from functools import partial

from headstart.compression.half import ENGINES, quickest, written
from headstart.compression.method import Candidate, Method, Source


class Student(Method):
    """Distillation, which takes a budget of its own: it is tried where a student is named."""

    def refusal(self, source: Source) -> str:
        """It needs the name of a student, and answers at the class shares that it was taught at."""
        if source.model.deployment_prior is not None:
            return "the model answers at other class shares than a student would be taught at"
        return "" if source.teach is not None else "no student was named (--student SOURCE:NAME)"

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """One: the student, in bfloat16 where the processor has the units."""
        assert source.teach is not None
        model = source.teach()
        precision, runtime = quickest(source)
        yield Candidate(
            f"student {model.report.backbone}",
            f"another network, taught by the model, in {precision} through {ENGINES[runtime]}",
            model,
            partial(written, precision=precision, runtime=runtime),
        )


PLUGIN = Student()
