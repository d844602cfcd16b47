"""ImageNet's layouts: the right labels from folders, from the devkit and from Kaggle's list."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import headstart as hs
from headstart.core.errors import DataError
from headstart.data.opening import open_samples
from headstart.data.samples import Samples
from support import media

WORDS = {"n01440764": "tench, Tinca tinca", "n02012849": "crane", "n03126707": "crane, big hook"}
SYNSETS = tuple(WORDS)
VAL = (2, 0, 1, 0)


def tree(base: Path, *, flat: bool = False) -> Path:
    for number, synset in enumerate(SYNSETS):
        (base / "train" / synset).mkdir(parents=True)
        for item in range(4):
            (base / "train" / synset / f"{synset}_{item}.JPEG").write_bytes(
                media.image(form="JPEG", seed=10 * number + item)
            )
    for row, number in enumerate(VAL, start=1):
        folder = base / "val" / ("" if flat else SYNSETS[number])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"ILSVRC2012_val_{row:08d}.JPEG").write_bytes(media.image(form="JPEG", seed=100 + row))
    return base


def mapping(folder: Path) -> None:
    lines = [f"{synset} {words}" for synset, words in WORDS.items()]
    (folder / "LOC_synset_mapping.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def devkit(folder: Path, truth: tuple[object, ...] = (3, 1, 2, 1)) -> None:
    folder.mkdir(parents=True)
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    rows = np.array([(i, synset, words) for i, (synset, words) in enumerate(WORDS.items(), start=1)], dtype=kind)
    savemat(folder / "meta.mat", {"synsets": rows})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{row}\n" for row in truth))


def labels(samples: Samples) -> dict[str, str]:
    names = [one.rsplit("/", 1)[-1] for one in samples.ids]
    return dict(zip(names, samples.table.column("target").to_pylist(), strict=True))


NAMES = {0: "tench", 1: "crane (n02012849)", 2: "crane, big hook"}


def check(samples: Samples, names: dict[int, str]) -> None:
    assert samples.parts == ("train", "val")
    told = labels(samples)
    assert [told[f"ILSVRC2012_val_{row:08d}.JPEG"] for row in range(1, 5)] == [names[number] for number in VAL]
    assert [told[f"{synset}_0.JPEG"] for synset in SYNSETS] == list(names.values())


@pytest.mark.parametrize("below", ["", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"])
def test_folders_of_synsets_are_named(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below)
    mapping(tmp_path)
    check(open_samples(tmp_path), NAMES | {1: "crane"})


@pytest.mark.parametrize("name", ["words.txt", "imagenet_class_index.json"])
def test_other_lists_of_names(tmp_path: Path, name: str) -> None:
    tree(tmp_path)
    index = {str(i): [synset, words.replace(" ", "_")] for i, (synset, words) in enumerate(WORDS.items())}
    lines = "".join(f"{synset}\t{words}\n" for synset, words in WORDS.items())
    (tmp_path / name).write_text(json.dumps(index) if name.endswith("json") else lines, encoding="utf-8")
    check(open_samples(tmp_path), NAMES | {1: "crane"})


def test_without_a_list_synsets_are_labels_and_it_is_said(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path / "imagenet"))
    check(samples, dict(enumerate(SYNSETS)))
    assert any("synsets are the labels" in note for note in samples.notes)


def test_equal_names_stay_apart(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "words.txt").write_text("n02012849\tcrane\nn03126707\tcrane\n", encoding="utf-8")
    samples = open_samples(tmp_path)
    check(samples, {0: "n01440764", 1: "crane (n02012849)", 2: "crane (n03126707)"})
    assert any("does not name 1 synsets" in note for note in samples.notes)


def test_a_flat_validation_folder_by_the_devkit(tmp_path: Path) -> None:
    tree(tmp_path, flat=True)
    devkit(tmp_path / "ILSVRC2012_devkit_t12" / "data")
    check(open_samples(tmp_path), NAMES | {1: "crane"})


def test_a_flat_validation_folder_by_the_solution(tmp_path: Path) -> None:
    tree(tmp_path / "ILSVRC" / "Data" / "CLS-LOC", flat=True)
    mapping(tmp_path)
    rows = [f"ILSVRC2012_val_{row:08d},{SYNSETS[number]} 1 2 3 4" for row, number in enumerate(VAL, start=1)]
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    check(open_samples(tmp_path), NAMES | {1: "crane"})


def test_a_flat_folder_without_truth_is_counted(tmp_path: Path) -> None:
    samples = open_samples(tree(tmp_path / "imagenet", flat=True))
    assert samples.parts == ("train",)
    assert len(samples.skipped) == 4
    assert "tells its label" in samples.skipped[0].reason


def test_damaged_truth_is_named(tmp_path: Path) -> None:
    tree(tmp_path, flat=True)
    devkit(tmp_path / "devkit", truth=(3, 1, 9, 1))
    with pytest.raises(DataError, match=r"ground_truth\.txt says '9' in line 3"):
        open_samples(tmp_path)
    (tmp_path / "devkit" / "meta.mat").write_bytes(b"no matrix")
    with pytest.raises(DataError, match=r"meta\.mat is no meta\.mat of ImageNet's devkit"):
        open_samples(tmp_path)


def test_a_fit_reads_it_as_it_is(tmp_path: Path) -> None:
    tree(tmp_path)
    mapping(tmp_path)
    model = hs.fit(tmp_path, backbone="toy:image")
    assert sorted(model.labels) == ["crane", "crane, big hook", "tench"]
