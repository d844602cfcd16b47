"""Whether a socket may be opened."""

import os

_TRUE = {"1", "on", "yes", "true"}


def is_offline(requested: bool) -> bool:  # noqa: FBT001  (one flag, and it is the whole question)
    """Whether no socket may be opened: asked for, or `HEADSTART_OFFLINE` or `HF_HUB_OFFLINE` is set.

    The command line sets the first for its process where `--offline` is given, so that it holds for whatever a verb reads.
    """
    return requested or any(
        os.environ.get(name, "").lower() in _TRUE for name in ("HEADSTART_OFFLINE", "HF_HUB_OFFLINE")
    )
