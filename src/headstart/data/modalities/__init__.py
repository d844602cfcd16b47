"""◆ One file a modality: how to recognise it, and the host half of preparation."""

from headstart.core.registry import Registry
from headstart.data.preparation import Modality, Preparation

MODALITIES: Registry[Modality] = Registry("headstart.data.modalities", "modality", Modality)


def preparation(recipe: str, assets: "dict[str, bytes]") -> Preparation:
    """The preparation for a recipe string, whose name is that of its modality: `image(size=224, ...)`.

    Raises:
        UsageError: there is no such modality, or the recipe does not fit it.
    """
    return MODALITIES.get(recipe.split("(", 1)[0].strip()).preparation(recipe, assets)
