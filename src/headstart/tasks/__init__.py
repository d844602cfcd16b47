"""◆ One file a task: what its target column, link, metrics and a prediction's JSON are. No other room asks which task it is."""

import pyarrow as pa

from headstart.core.errors import DataError
from headstart.core.registry import Registry
from headstart.tasks.task import Task

TASKS: Registry[Task] = Registry("headstart.tasks", "task", Task, frozenset({"task", "columns"}))


def guess_task(column: pa.ChunkedArray) -> str:
    """The name of the one task whose targets a column looks like, for when nobody said.

    Raises:
        DataError: no task takes such a column, or more than one does.
    """
    fitting = [name for name in TASKS.names() if TASKS.get(name).fits(column)]
    if len(fitting) == 1:
        return fitting[0]
    what = f"which {' and '.join(fitting)} take" if fitting else "which no task takes"
    raise DataError(f"the targets are {column.type}, {what}: say which with --task {'|'.join(TASKS.names())}")
