"""Licences of weights: how they are written, and whether they allow commercial use. No legal advice: the text of the licence decides."""

import re

# As SPDX writes them: licences that allow commercial use.
_FREE = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "ISC", "MIT")
_WRITTEN = {each.lower(): each for each in _FREE}
_FORBIDS = re.compile(r"(^|[^a-z])(nc|non[-_ ]?commercial)([^a-z]|$)", re.IGNORECASE)
# Apple's Machine Learning Research Model licence: for research only.
_RESEARCH = {"apple-amlr"}


def spdx(licence: str) -> str:
    """The licence as SPDX writes it, such as `CC-BY-NC-4.0`; one that SPDX does not list stays as it is."""
    known = _WRITTEN.get(licence.lower())
    return known or (licence.upper() if licence.lower().startswith("cc-") else licence)


def commercial(licence: str) -> bool | None:
    """Whether a licence allows commercial use: False where it forbids it, None where headstart does not know the licence."""
    if _FORBIDS.search(licence) or licence.lower() in _RESEARCH:
        return False
    return True if licence.lower() in _WRITTEN else None
