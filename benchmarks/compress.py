"""Compression: twice the throughput of the fastest float32 engine, for no more than the larger of half a point and one paired standard error.

On each set a model is fitted, and compressed by all methods; `speedup` is that of what is kept, `drop` what it loses on the evaluated part, `allowed` what it
may. Every candidate's figure and speed is told beside it, kept or not. That int8 which loses more is refused is shown by a test.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.compression.contract import ROUNDING, Contract

SETS = {"ants_bees": 0, "cifar10": 128, "sst2": 0}
"""By name, the size of pictures where it is not the backbone's own."""

QUICK = ("ants_bees",)
BACKBONES = {"sst2": "embedded:minilm-l6"}
IMAGES = "embedded:efficientnet-lite0"


def compressed(name: str, folder: Path) -> Iterator[Figure]:
    """One set."""
    data, size = str(DATA / name), SETS[name]
    request = replace(BackboneRequest.parse(BACKBONES.get(name, IMAGES)), prepare={"size": size} if size else {})
    model = hs.fit(data, options=hs.FitOptions(backbone=request, check=False))
    contract = Contract(max_drop=0.5, min_speedup=1.2)
    found = hs.compress(model, data, out=folder / name, options=hs.CompressOptions(contract=contract))
    for each in found.table:
        title = f"{name}/{each.name.replace(' ', '_').replace(',', '')}"
        yield Figure(f"{title}/throughput", each.throughput, f"samples a second in batches of {each.batch}")
        yield Figure(f"{title}/{found.figure}", each.figure, f"of {found.n} held-out samples")
        yield Figure(f"{title}/p50", each.p50, "s, one sample alone")
    kept = next((each for each in found.table if each.name == found.chosen), None)
    for note in found.notes:
        print(f"{name}: {note}", file=sys.stderr)
    for each in found.table:
        print(f"{name}: {each.name}: {each.refused or 'keeps the contract'}", file=sys.stderr)
    print(f"{name}: {found.sentence}; {found.seconds}", file=sys.stderr)
    yield Figure(
        f"{name}/speedup", 0.0 if kept is None else kept.speedup, "times the fastest float32 engine", at_least=2.0
    )
    if kept is not None:
        allowed = contract.allowed(kept.error) + ROUNDING
        yield Figure(f"{name}/drop", kept.drop, "share of the held-out samples", at_most=allowed)
    yield Figure(f"{name}/seconds", found.seconds["total"], "s for all candidates")


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    wanted = tuple(given.only.split(",")) if given.only else QUICK if given.quick else tuple(SETS)
    with tempfile.TemporaryDirectory() as folder:
        measured = (each for name in present(wanted) for each in compressed(name, Path(folder)))
        return show("compress", measured, keep=given.keep, merge=bool(given.only), anew=wanted)


if __name__ == "__main__":
    sys.exit(main())
