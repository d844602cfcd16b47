"""◆ One file a head recipe. Many recipes, few fitted heads: `Linear`, `Neighbours` and `Mlp`."""

from headstart.core.registry import Registry
from headstart.heads.recipe import HeadRecipe

HEADS: Registry[HeadRecipe] = Registry(
    "headstart.heads",
    "head",
    HeadRecipe,
    frozenset(
        {"recipe", "fitted", "statistics", "selection", "rows", "extrapolation", "family", "lbfgs", "losses", "modules"}
    ),
)
