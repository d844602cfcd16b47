"""Every registered head keeps the contract."""

import pytest

from headstart.heads import HEADS
from headstart.testing import check_head


@pytest.mark.parametrize("name", HEADS.names())
def test_the_head_keeps_its_contract(name: str) -> None:
    check_head(HEADS.get(name))
    assert HEADS.catalogue()[name]
