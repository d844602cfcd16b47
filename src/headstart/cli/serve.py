"""`headstart serve`: models over HTTP, with a page."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headstart.cli.arguments import Verbs, add_engine, count, duration, room, verb


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart serve`."""
    parser = verb(verbs, "serve", about="answer over HTTP, with a page to drop files on; only this machine reaches it unless told otherwise")  # fmt: skip
    parser.add_argument("models", nargs="+", metavar="MODEL", help="directories of models, exported and compressed ones too (these need no torch); NAME=DIR gives a name")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1, this machine only; 0.0.0.0 for every network)")  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="the port (default: 8000; 0 for any that is free)")
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token that requests have to carry (default: the environment variable HEADSTART_TOKEN, or none)")  # fmt: skip
    parser.add_argument("--no-page", action="store_true", help="serve no page")
    parser.add_argument("--max-body", type=room, metavar="SIZE", help="of one request (default: 32MB)")
    parser.add_argument("--max-items", type=count, metavar="N", help="inputs of one request (default: 64)")
    parser.add_argument("--max-pixels", type=count, metavar="N", help="of a picture (default: 50000000)")
    parser.add_argument("--max-seconds", type=duration, metavar="TIME", help="of a recording (default: 600s)")
    parser.add_argument("--max-characters", type=count, metavar="N", help="of a text (default: 200000)")
    parser.add_argument("--max-tokens", type=count, metavar="N", help="that a text becomes (default: 50000)")
    parser.add_argument("--max-wait", type=duration, metavar="TIME", help="that a request may take (default: 30s)")
    parser.add_argument("--queue", type=count, metavar="N", help="inputs under way at once; beyond it requests are answered with 429 (default: 256)")  # fmt: skip
    parser.add_argument("--grace", type=duration, default=20.0, metavar="TIME", help="that requests under way have to end in when it is told to stop (default: 20s)")  # fmt: skip
    add_engine(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container has to ask for it
    try:
        _serve(options)
    except KeyboardInterrupt:  # before the server began to take it
        sys.stderr.write("headstart: told to stop before the models were open\n")
    finally:
        signal.signal(signal.SIGTERM, before)
    if any(each.name.startswith("headstart ") for each in threading.enumerate()):
        # At work for somebody who waits no more, in code that cannot be stopped: the end of the process does not hang on it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _serve(options: argparse.Namespace) -> None:
    from headstart.serving.options import Limits, ServeOptions, by_name
    from headstart.serving.running import serve

    asked = {
        "body": options.max_body,
        "items": options.max_items,
        "pixels": options.max_pixels,
        "seconds": options.max_seconds,
        "characters": options.max_characters,
        "tokens": options.max_tokens,
        "wait": options.max_wait,
        "queue": options.queue,
    }
    limits = Limits(**{name: value for name, value in asked.items() if value is not None})
    limits = replace(limits, memory=max(limits.memory, limits.one_body))
    chosen = ServeOptions(
        host=options.host,
        port=options.port,
        token=_token(options.token_file),
        engine=options.engine,
        limits=limits,
        grace=options.grace,
        page=not options.no_page,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="headstart: %(message)s")
    if not chosen.local and not chosen.token:
        sys.stderr.write("headstart: whoever reaches this address may ask: set HEADSTART_TOKEN, or --token-file\n")
    serve(by_name(map(_named, options.models)), options=chosen, listening=_listening(options))


def _listening(options: argparse.Namespace) -> Callable[[str], None]:
    from headstart.cli.output import print_json

    def said(address: str) -> None:
        if options.json:
            print_json({"address": address})
        elif not options.quiet:
            sys.stdout.write(f"listening at {address}  (Ctrl-C ends it)\n")
        sys.stdout.flush()

    return said


def _named(given: str) -> tuple[str, Path]:
    """The name and the directory of one model."""
    name, equals, place = given.partition("=")
    if not equals or Path(given).exists():
        path = Path(given)
        return path.resolve().name, path
    return name, Path(place)


def _token(file: str | None) -> str:
    """The token, from a file or the environment: as an argument everyone on the machine could read it."""
    from headstart.core.errors import UsageError

    if not file:
        return os.environ.get("HEADSTART_TOKEN", "")
    found = Path(file).read_text(encoding="utf-8").strip()
    if not found:
        raise UsageError(f"{file} holds no token")
    return found
