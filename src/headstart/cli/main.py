"""`headstart`: parse, call one verb, render."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from headstart.cli.arguments import Verbs, add_engine, add_labelled, add_running, age, count, room, seed, share, verb

EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_PARTLY, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

# Verbs with a file of their own in this room: `add(verbs)` parses, and sets `run`, which calls the verb and shows what it found.
OWN_FILES = (
    "check",
    "curve",
    "pick",
    "rank",
    "explain",
    "search",
    "report",
    "models",
    "tune",
    "distil",
    "export",
    "compress",
    "serve",
    "verify",
)

_EPILOG = """\
exit status: 0 done; 1 refused, with one sentence that says why; 2 wrong usage; 3 predictions were made but some inputs could not be read;
130 interrupted (rows that were extracted are kept, and the same command goes on from there)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        _steady_streams()
        options = build_parser().parse_args(arguments)
        if options.offline:
            os.environ["HEADSTART_OFFLINE"] = "1"
        return _run(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return _say(
            "interrupted; what was extracted is kept, and the same command goes on from there", EXIT_INTERRUPTED
        )


def _run(options: argparse.Namespace) -> int:
    from headstart.core.errors import HeadstartError, UsageError

    try:
        status = int(_command(options)(options))
        sys.stdout.flush()
    except UsageError as error:
        return _say(str(error), EXIT_USAGE)
    except HeadstartError as error:
        return _say(str(error), EXIT_REFUSED)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _say(f"the system refused ({error.strerror or error}){place}", EXIT_REFUSED)
    return status


def _command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What runs the verb: the function that its own file names, or the one of its name in `commands`."""
    own: Callable[[argparse.Namespace], int] | None = getattr(options, "run", None)
    if own is not None:
        return own
    from headstart.cli import commands

    found: Callable[[argparse.Namespace], int] = getattr(commands, options.verb)
    return found


def _steady_streams() -> None:
    """Standard streams that are there, also where they were closed, and that take any Unicode, also into a pipe."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  (open as long as the process is)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=stream.encoding if stream.isatty() else "utf-8", errors="replace")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    from headstart import __version__

    parser = argparse.ArgumentParser(
        prog="headstart",
        description="From a pretrained model and your own labelled images, texts or recordings to a model that you can trust and ship.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"headstart {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_fit(verbs)
    _add_predict(verbs)
    _add_evaluate(verbs)
    _add_compare(verbs)
    for name in OWN_FILES:
        importlib.import_module(f"headstart.cli.{name}").add(verbs)
    _add_cache(verbs)
    return parser


# What a fitted model runs at where nobody says.
_AS_FITTED = "what the model was fitted at, or float32 where this device has no units for that; a difference is told"


def _add_fit(verbs: Verbs) -> None:  # type: ignore[valid-type]
    fit = verb(verbs, "fit", about="fit a model to a folder of labelled photos, texts or recordings, or to a table")
    fit.add_argument("data", help="a folder of class folders (with or without train/ val/ test/), a table (.csv .tsv .jsonl .parquet), "
                     "or a folder of tables named train, val, test")  # fmt: skip
    fit.add_argument(
        "--out", metavar="DIR", help="where to write the model directory; without it the model is only measured"
    )
    data = fit.add_argument_group("data")
    data.add_argument("--target", metavar="COLUMN", help="the column that holds the label or number")
    data.add_argument("--input", metavar="COLUMN", help="the column that holds the text or the path of a file")
    data.add_argument("--group", metavar="COLUMN", help="the column with the group (patient, speaker, slide) that must not be split; for "
                      "files 'parent', or a regular expression whose first group is taken from the file's name")  # fmt: skip
    data.add_argument(
        "--task", choices=["single_label", "multilabel", "multi_label", "regression"], help="what kind of target it is"
    )
    data.add_argument(
        "--separator", metavar="TEXT", help="what separates the labels of a multi-label cell, such as '|'"
    )
    data.add_argument("--modality", choices=["image", "text", "audio"], help="what the inputs are")
    data.add_argument(
        "--no-check", action="store_true", help="do not look for copies, wrong labels and other faults of the data"
    )
    data.add_argument("--hold-out", type=share, default=0.0, metavar="SHARE", help="set aside this share of the samples as a test part, "
                      "stratified by label (default: none; the figures are then out-of-fold ones)")  # fmt: skip
    model = fit.add_argument_group("model")
    model.add_argument("--backbone", metavar="SOURCE:NAME", help="such as timm:resnet50, transformers:bert-base-uncased or "
                       "embedded:minilm-l6, or auto: what suits the data best of all that is on this machine (default: the first of the list for the "
                       "modality that is on this machine; see 'headstart models')")  # fmt: skip
    model.add_argument(
        "--layer", default="", help="a module path such as encoder.layer.8, or a negative block index such as -2"
    )
    model.add_argument("--layers", choices=["scan"], default="", help="scan: read the layers that suit the data best")
    model.add_argument("--pooling", default="", help="mean, cls, cls+mean, max, last, flat or model")
    model.add_argument(
        "--weights",
        metavar="FILE",
        help="a local file with the backbone's weights (.safetensors, or a .pth of tensors)",
    )
    model.add_argument("--prepare", metavar="KEY=VALUE", action="append", default=[], help="change the backbone's own preparation, such "
                       "as size=128; may be repeated")  # fmt: skip
    model.add_argument(
        "--long", choices=["truncate", "windows"], help="what to do with texts past the backbone's limit"
    )
    add_running(
        model, "the backbone's own on this device: float32, unless it was measured to keep its rows at a narrower one"
    )
    model.add_argument("--head", default="auto", help="auto, logistic, ridge, lda, prototype, knn, or one with options such as "
                       "'ridge(penalty=0.1)' (default: auto)")  # fmt: skip
    model.add_argument("--coverage", type=share, default=0.9, metavar="SHARE", help="the share of truths that sets of labels, or intervals of "
                       "values, are to hold (default: 0.9)")  # fmt: skip
    model.add_argument("--optimise", default="", metavar="AIM", help="what decisions are to be good at, whatever the probabilities: accuracy, "
                       "balanced, macro_f1, recall>=0.95:LABEL or cost=FILE.csv (default: the most probable label)")  # fmt: skip
    model.add_argument("--deployment-prior", default="", metavar="SHARES", help="class shares where the model will be used, as 'a=0.3,b=0.7' or a "
                       "CSV file; probabilities are then under these (default: those of the training samples)")  # fmt: skip
    model.add_argument("--seed", type=seed, default=0, help="decides the folds and what is held out (default: 0)")
    model.add_argument("--with-examples", action="store_true", help="carry small copies of training samples in the model, to be shown beside its "
                       "answers; they go wherever the model goes (default: their names alone)")  # fmt: skip
    model.add_argument(
        "--by-reference", action="store_true", help="store the backbone's name and digest instead of its weights"
    )


def _add_predict(verbs: Verbs) -> None:  # type: ignore[valid-type]
    predict = verb(verbs, "predict", about="names with calibrated probabilities for files, folders, tables or texts")
    predict.add_argument("model", help="the model directory")
    predict.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, a folder or a table; for a text model also the text itself, in quotes",
    )
    predict.add_argument("--csv", action="store_true", help="a CSV table on standard output, and nothing else there")
    predict.add_argument("--top", type=count, default=3, metavar="N", help="labels to show for each input (default: 3)")
    predict.add_argument(
        "--abstain",
        action="store_true",
        help="say 'I don't know', with the reason, instead of an answer of little worth",
    )
    predict.add_argument("--abstain-when", choices=["any", "outlier", "unsure"], help="--abstain where an input is unlike the training data "
                         "(outlier), where several labels are possible (unsure), or at either (any, the default)")  # fmt: skip
    predict.add_argument(
        "--by-label", action="store_true", help="sets of labels that hold each label's own truths at the coverage"
    )
    add_running(predict, _AS_FITTED)


def _add_evaluate(verbs: Verbs) -> None:  # type: ignore[valid-type]
    evaluate = verb(verbs, "evaluate", about="a model's figures on labelled data that it was not fitted on")
    evaluate.add_argument("model", help="the model directory")
    add_labelled(evaluate)
    add_running(evaluate, _AS_FITTED)


def _add_compare(verbs: Verbs) -> None:  # type: ignore[valid-type]
    compare = verb(verbs, "compare", about="two models on the same labelled samples, with a paired test")
    compare.add_argument("model_a", help="the directory of one model")
    compare.add_argument("model_b", help="the directory of another one, of the same labels")
    add_labelled(compare)
    add_engine(compare)


def _add_cache(verbs: Verbs) -> None:  # type: ignore[valid-type]
    about = "what the feature store holds, whether it is whole, and making room"
    cache = verbs.add_parser("cache", help=about, description=about)  # type: ignore[attr-defined]
    actions = cache.add_subparsers(dest="action", metavar="ACTION", required=True)
    verb(actions, "list", about="the stored rows of each backbone, with their room and last use")
    verify = verb(actions, "verify", about="compare every stored row with its checksum; status 1 where one is damaged")
    verify.add_argument(
        "--mend", action="store_true", help="drop damaged rows, so that the next run extracts them again"
    )
    prune = verb(actions, "prune", about="make room; what another process has open stays")
    prune.add_argument("--older-than", type=age, metavar="AGE", help="what was last used so long ago: 12h, 30d, 8w")
    prune.add_argument(
        "--to", type=room, metavar="SIZE", help="as much as exceeds this, least recently used first: 500MB, 5GB"
    )
    prune.add_argument(
        "--backbone", metavar="SOURCE:NAME", help="only the rows of this backbone; with no other option all of them"
    )
    prune.add_argument(
        "--orphans", action="store_true", help="what killed runs left behind, and rows of other versions of headstart"
    )
    prune.add_argument("--dry-run", action="store_true", help="remove nothing, and tell what would go")


def _say(sentence: str, status: int) -> int:
    from headstart.cli.output import plain

    print("headstart:", plain(sentence, kept="\n"), file=sys.stderr)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
