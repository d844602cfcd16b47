"""◆ One file a task: what its target column, link, metrics and a prediction's JSON are. No other room asks which task it is."""

from headstart.core.registry import Registry
from headstart.tasks.task import Task

TASKS: Registry[Task] = Registry("headstart.tasks", "task", Task, frozenset({"task", "columns"}))
