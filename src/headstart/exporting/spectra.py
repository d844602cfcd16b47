"""Spectrograms by matrix products in the place of Fourier transforms, which some runtimes lack or compute otherwise."""

from torch import nn

from headstart.backbones.fourier import Frames, ShortTime


def by_products(network: nn.Module) -> None:
    """Let a network compute its power spectra by products; changed in place."""
    found = [(name, each) for name, each in network.named_modules() if isinstance(each, ShortTime | Frames)]
    for name, each in found:
        network.set_submodule(name, each.by_products())
