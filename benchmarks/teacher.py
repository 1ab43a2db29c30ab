"""The teacher's client and ledger against their bars, side by side with Bespoke Curator and the bare openai package.

    .venv/bin/python benchmarks/teacher.py --curator /path/to/curator/bin/python

A mock endpoint on this machine answers after 0.2 s; 64 requests at once. ``--curator`` names the Python of an
environment with ``bespokelabs-curator``; without it the peer is left out. Parts, all of them unless ``--only`` names
some: speed, rerun, kills, changes, refusals, memory.

Belongs here: running, comparing, reporting. Does not belong here: how a client asks (``teacher_s3.py``,
``teacher_curator.py``, ``teacher_openai_sdk.py``), the requests and the endpoint (``teacher_requests.py``,
``mock_endpoint.py``).
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from mock_endpoint import mock_endpoint, reset, stats

HERE = Path(__file__).resolve().parent
OURS = "s3_assets"
PARTS = ("speed", "rerun", "kills", "changes", "refusals", "memory")


class Clients:
    """How to start each client: its name, then the command."""

    def __init__(self, curator: str | None) -> None:
        self.commands = {OURS: [sys.executable, str(HERE / "teacher_s3.py")]}
        if curator is not None:
            self.commands["curator"] = [curator, str(HERE / "teacher_curator.py")]
        sdk = [sys.executable, str(HERE / "teacher_openai_sdk.py")]
        self.commands["openai, aiohttp"] = [*sdk, "--transport", "aiohttp"]
        self.commands["openai"] = sdk

    def start(self, name: str, url: str, place: Path, *options: str) -> subprocess.Popen[str]:
        """A process of the client; it prints one line of JSON when it is done."""
        command = [*self.commands[name], "--url", url, "--working-dir", str(place), *options]
        place.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, name: str, url: str, place: Path, *options: str) -> dict[str, Any]:
        """What the client measured of itself."""
        said, _ = (process := self.start(name, url, place, *options)).communicate()
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}; run its script alone to see why")
        found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return found


def speed(clients: Clients, place: Path, repeats: int) -> None:
    """2,500 calls, clients in turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in clients.commands}
    with mock_endpoint() as url:
        for turn in range(repeats):
            for name, results in found.items():
                results.append(clients.run(name, url, place / f"{turn} {name}", "--calls", "2500"))
    print(f"\nspeed: 2,500 calls, 0.2 s, 64 at once; medians of {repeats} [lowest-highest]; 320 calls/s at best")
    print(f"{'':18}{'calls/s':>16}{'ratio':>7}{'while asking':>16}{'ratio':>7}{'CPU ms/call':>13}{'with imports':>14}")
    ours = [result["calls"] / result["whole_seconds"] for result in found[OURS]]
    for name, results in found.items():
        columns = ""
        for clock in ("whole_seconds", "seconds"):
            rates = [result["calls"] / result[clock] for result in results]
            ratio = median(mine / theirs for mine, theirs in zip(ours, rates, strict=True))
            columns += f"{f'{median(rates):.0f} [{min(rates):.0f}-{max(rates):.0f}]':>16}{ratio:>7.2f}"
        for clock, width in (("asking_cpu_seconds", 13), ("cpu_seconds", 14)):
            columns += f"{median(1000 * result[clock] / result['calls'] for result in results):>{width}.2f}"
        print(f"{name:18}{columns}")
    print("calls/s: from opening the client's store to having all answers; ratio: ours to theirs, by turns")


def rerun(clients: Clients, place: Path, repeats: int) -> None:
    """The same 500 again."""
    print("\nrerun: the same 500 again")
    with mock_endpoint() as url:
        for name in (OURS, "curator"):
            if name not in clients.commands:
                continue
            clients.run(name, url, place / name, "--calls", "500")
            reset(url)
            seconds = [clients.run(name, url, place / name, "--calls", "500")["seconds"] for _ in range(repeats)]
            print(f"{name:18}{stats(url)['distinct_bodies']} calls, {median(seconds):.2f} s")


def kills(clients: Clients, place: Path, _: int) -> None:
    """SIGKILL at random points of 500 calls, then resume."""
    print(
        "\nkills: SIGKILL at a random point of 500 calls, then resume; calls beyond 500, of them asked after an answer"
    )
    rng = random.Random(0)
    with mock_endpoint() as url:
        for name, times in ((OURS, 10), ("curator", 3)):
            if name not in clients.commands:
                continue
            shown = []
            for turn in range(times):
                reset(url)
                folder = place / f"{name} {turn}"
                process = clients.start(name, url, folder, "--calls", "500")
                until = rng.randint(40, 460)
                while stats(url)["answered"] < until and process.poll() is None:
                    time.sleep(0.02)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                time.sleep(0.5)
                killed_at = stats(url)
                answers = clients.run(name, url, folder, "--calls", "500")["answers"]
                after = stats(url)
                if answers != 500:
                    raise SystemExit(f"{name}: {answers} answers after the kill")
                shown.append(f"{after['requests'] - 500}/{after['repeated_answered']} (at {killed_at['answered']})")
            print(f"{name:18}{', '.join(shown)}")


def changes(clients: Clients, place: Path, _: int) -> None:
    """What is asked anew after a change."""
    print("\nchanges: calls made after 500 were answered")
    cases = {
        "100 rows added": ("--calls", "600"),
        "one row edited": ("--calls", "500", "--edited", "7"),
        "system prompt changed": ("--calls", "500", "--system", " Write plainly."),
        "temperature changed": ("--calls", "500", "--temperature", "0.5"),
        "model changed": ("--calls", "500", "--model", "another"),
        "schema changed": ("--calls", "500", "--schema-title", "Examples"),
    }
    with mock_endpoint(latency=0.02) as url:
        clients.run(OURS, url, place, "--calls", "500")
        for name, options in cases.items():
            reset(url)
            clients.run(OURS, url, place, *options)
            print(f"{name:24}{stats(url)['requests']:>5}")


def refusals(clients: Clients, place: Path, repeats: int) -> None:
    """5% 429 with Retry-After 1 s."""
    with mock_endpoint(refuse=0.05, retry_after=1) as url:
        found, asked = [], []
        for turn in range(repeats):
            reset(url)
            result = clients.run(OURS, url, place / str(turn), "--calls", "500")
            found.append(result["seconds"])
            asked.append(stats(url)["requests"])
            if result["answers"] != 500:
                raise SystemExit(f"{result['answers']} answers of 500")
    print(
        f"\nrefusals: 5% 429 with Retry-After 1: 500 answers in {median(found):.1f} s, {median(asked) / 500:.3f}x calls"
    )


def memory(clients: Clients, place: Path, _: int) -> None:
    """The largest resident memory while 100,000 requests are pending."""
    with mock_endpoint(latency=0.02) as url:
        process = clients.start(OURS, url, place, "--calls", "100000")
        seen: list[tuple[int, float]] = []
        while process.poll() is None:
            used = _resident(process.pid)
            if used:
                seen.append((stats(url)["answered"], used))
            time.sleep(0.5)
        result = json.loads(process.communicate()[0])
    at = [max((used for done, used in seen if done <= limit), default=0.0) for limit in (10_000, 50_000, 100_000)]
    print(f"\nmemory: 100,000 requests, {result['answers']} answers in {result['seconds']:.0f} s")
    print(f"largest until 10,000 / 50,000 / 100,000 answers: {' / '.join(f'{used:.0f} MB' for used in at)}")


def _resident(pid: int) -> float:
    """Resident memory of a process in MB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curator", help="Python of an environment with bespokelabs-curator")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    clients = Clients(options.curator)
    measure: dict[str, Callable[[Clients, Path, int], None]] = {
        name: globals()[name] for name in PARTS if name in options.only
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, part in measure.items():
            part(clients, Path(folder) / name, options.repeats)
    print(
        f"\n{os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("openai", "aiohttp", "polars"))
    )


if __name__ == "__main__":
    main()
