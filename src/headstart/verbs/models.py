"""`models`: what pretrained models there are."""

from headstart.backbones.backbone import CatalogueEntry
from headstart.backbones.choice import catalogue


def models(*, modality: str | None = None, installed: bool = False) -> list[CatalogueEntry]:
    """The catalogue of pretrained models. Opens no socket and imports no heavy library.

    Args:
        modality: only those for `image`, `text` or `audio`.
        installed: only those whose weights are on this machine.
    """
    return [
        entry
        for entry in catalogue()
        if (modality is None or entry.modality == modality) and (entry.installed or not installed)
    ]
