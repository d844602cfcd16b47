"""What a person calls a backbone."""

from dataclasses import replace

from headstart.backbones.choice import open_backbone
from headstart.core.spec import title_of


def test_all_layers_that_are_read_are_named() -> None:
    spec = open_backbone("toy:image").specs[0]
    assert title_of((spec,)) == spec.title == "toy:image"
    assert title_of((replace(spec, layer="a"), replace(spec, layer=""))) == "toy:image at a and its last output"
