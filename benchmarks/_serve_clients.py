"""Many clients of a server, in a process of their own: `_serve_clients.py ADDRESS PATH CLIENTS COUNT FOLDER`.

Each keeps one connection and asks again as soon as it has its answer; the bodies are the files of the folder, one after the other. A 429 is
waited out as it says. Prints one JSON object: how many got each status, the latencies of the answers in seconds, and how long all of it took.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> tuple[int, float]:
    """One request: its status, and the seconds that it says to wait."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode("ascii") + body)
    await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    status = int(answer[0].split()[1])
    headers = dict(each.split(": ", 1) for each in answer[1:] if ": " in each)
    await reader.readexactly(int(headers["content-length"]))
    return status, float(headers.get("retry-after", 0))


async def main() -> None:
    """Ask until all requests are answered."""
    address, path, clients, most, folder = sys.argv[1:]
    bodies = [each.read_bytes() for each in sorted(Path(folder).iterdir())]
    place, numbers = urlsplit(address), count()
    statuses: Counter[int] = Counter()
    latencies: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while (number := next(numbers)) < int(most):
            began = time.perf_counter()
            status, wait = await ask(reader, writer, path, bodies[number % len(bodies)])
            statuses[status] += 1
            if status == 200:
                latencies.append(time.perf_counter() - began)
            await asyncio.sleep(wait)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(int(clients))))
    seconds = time.perf_counter() - began
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) if latencies else (0.0, 0.0)
    told = {"statuses": dict(statuses), "p50": float(p50), "p99": float(p99), "seconds": seconds}
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
