"""`models`: what pretrained models there are."""

from headstart.backbones import SOURCES, built, records
from headstart.backbones.backbone import CatalogueEntry
from headstart.backbones.choice import catalogue
from headstart.backbones.first_use import completed
from headstart.core.errors import UsageError, suggest
from headstart.core.progress import Progress, silent
from headstart.data.modalities import MODALITIES


def models(
    name: str | None = None,
    *,
    modality: str | None = None,
    installed: bool = False,
    build: bool = True,
    progress: Progress = silent,
) -> list[CatalogueEntry]:
    """The catalogue of pretrained models, with what this machine has learnt of each. Opens no socket.

    Parameters, width and input are computed from the architecture without its weights where timm or Keras can build it: once for each
    version of the libraries, which are imported for it; else they are None until the model is first used here.

    Args:
        name: only this one, as `SOURCE:NAME`, also one that is not in the list; a bare name of the list will do.
        modality: only those for `image`, `text` or `audio`.
        installed: only those whose weights are on this machine.
        build: False imports no heavy library, and leaves out what was not computed before.
        progress: stage `build`, in models.

    Raises:
        UsageError: there is no such source, bare name or modality.
        BackboneError: the source has no such model.
        ExtraMissing: the library that knows the name is not installed.
    """
    if modality is not None and modality not in MODALITIES.names():
        raise UsageError(f"there is no modality {modality!r}.{suggest(modality, MODALITIES.names())}")
    listed = catalogue() if name is None else [_one(name)]
    entries = [
        entry
        for entry in listed
        if (modality is None or entry.modality == modality) and (entry.installed or not installed)
    ]
    names = [entry.backbone for entry in entries]
    found = built.build(names, progress=progress) if build else built.kept()
    return [completed(entry, found.get(entry.backbone)) for entry in entries]


def forget_model(name: str) -> bool:
    """Forget what this machine remembers of a model: the next use takes its weights as they are then.

    Args:
        name: `SOURCE:NAME`, or a bare name of the list.

    Returns:
        Whether there was anything to forget.

    Raises:
        UsageError: there is no such source, or no such bare name.
        BackboneError: the source has no such model.
    """
    return records.forget(_one(name).backbone)


def _one(name: str) -> CatalogueEntry:
    source, colon, rest = name.partition(":")
    if not colon:
        bare = {entry.backbone.partition(":")[2]: entry for entry in reversed(catalogue())}
        if name not in bare:
            raise UsageError(
                f"there is no model {name!r} in the list: write SOURCE:NAME for others, such as timm:{name}.{suggest(name, bare)}"
            )
        return bare[name]
    entry = SOURCES.get(source).entry(rest)
    if entry is None:
        raise UsageError(f"{name} is a network of your own, of which the catalogue knows nothing")
    return entry
