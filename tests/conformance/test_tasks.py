"""Every registered task keeps the contract."""

import pyarrow as pa
import pytest

from headstart.tasks import TASKS
from headstart.testing import check_task

COLUMNS = {
    "single_label": pa.chunked_array([["ant", "bee", "ant", "wasp"] * 5]),
    "multi_label": pa.chunked_array([[["ant"], [], ["ant", "wasp"], ["wasp"]] * 5]),
    "regression": pa.chunked_array([[1.5, 2.0, -3.25, 10.0] * 5]),
}


@pytest.mark.parametrize("name", TASKS.names())
def test_the_task_keeps_its_contract(name: str) -> None:
    check_task(TASKS.get(name), column=COLUMNS[name])
    assert TASKS.get(name).name == name
    assert TASKS.catalogue()[name]
