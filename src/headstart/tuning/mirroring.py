"""Whether mirrored pictures keep their labels: told by the frozen model on samples that it was not fitted on."""

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import ImageOps

from headstart.backbones.backbone import Backbone
from headstart.data.modalities.image import picture
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.extraction import embed
from headstart.model.model import join
from headstart.tuning.devices import at_once
from headstart.tuning.gate import decide

MOST = 256
"""So many pictures are looked at."""

# Standard errors by which a model that knows something is better than with the rows of other pictures.
_SURE, _SEED = 2.0, 0


def is_safe(
    backbone: Backbone,
    samples: Samples,
    *,
    plain: Float[np.ndarray, "n"],
    outcome: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n"]],
) -> bool:
    """Whether the frozen model tells mirrored pictures as well as the pictures themselves, up to one standard error.

    Digits and writing change their class, or become what the model never saw; animals do not. A model that tells nothing of the pictures,
    no more than from another picture's row, tells nothing of this either: they are not mirrored then.

    Args:
        backbone: frozen.
        samples: n pictures that its head was not fitted on.
        plain: what each adds to the model's figure, as it is.
        outcome: what n rows add to it.
    """
    if samples.modality != "image" or not len(samples):
        return False
    few = np.arange(min(MOST, len(samples)))
    read = content_of(samples)

    def mirrored(position: int) -> bytes:
        content = read(position)
        assert isinstance(content, bytes)
        turned = ImageOps.mirror(picture(content))
        file = io.BytesIO()
        turned.save(file, "BMP")
        return file.getvalue()

    extraction = embed(backbone, samples.take(few), content=mirrored, engine=at_once(backbone))
    rows, known = join(extraction.features), plain[few][extraction.kept]
    order = np.random.default_rng(_SEED).permutation(len(rows))
    knows, seen = decide(outcome(rows[order]), known), decide(known, outcome(rows))
    return knows.difference > _SURE * knows.error and not seen.difference < -max(seen.error, 1e-9)
