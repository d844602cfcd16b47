"""Make the golden model directories: `python tests/golden/make_golden.py [NAME ...]`, all of them or those of these names.

They are committed, and every later version must load them and repeat their answers. Make new ones only when the format's number changes
(or, while it is 0, when docs/format.md changes), and keep the old ones once it is 1.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = ("text-linear", "text-neighbours", "text-judge", "text-mlp", "image-linear")
sys.path.insert(0, str(HERE.parent))


def main(names: list[str]) -> None:
    """Fit the golden models on made data, save them, and write down what they answer."""
    import headstart as hs
    from headstart.model.judge import Judging
    from headstart.model.manifest import FORMAT
    from support.golden import TEXTS
    from support.made import photos, reviews

    target = HERE / f"format-{FORMAT}"
    for golden in names or GOLDEN:
        shutil.rmtree(target / golden, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEADSTART_CACHE"] = str(folder / "cache")
        data = reviews(folder / "reviews.csv", n=40)
        heads = {
            "text-linear": "logistic",
            "text-neighbours": "knn",
            "text-judge": "lda",
            "text-mlp": "mlp(hidden=8, epochs=5)",
        }
        for golden in [name for name in heads if name in (names or GOLDEN)]:
            model = hs.fit(data, options=hs.FitOptions(backbone="toy:text", head=heads[golden]))
            model.save(target / golden)
            _expect(target / golden, hs.predict(model, TEXTS, judging=Judging(abstain="any")))
        if names and "image-linear" not in names:
            return
        model = hs.fit(photos(folder / "photos"), options=hs.FitOptions(backbone="toy:image", head="lda"))
        model.save(target / "image-linear")
        shutil.copy(folder / "photos" / "val" / "red" / "0.png", target / "image-linear.png")
        _expect(target / "image-linear", hs.predict(model, [target / "image-linear.png"]))


def _expect(golden: Path, answers: list[dict[str, object]]) -> None:
    path = golden.with_name(f"{golden.name}.expected.json")
    for answer in answers:
        del answer["input"]
    path.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
