"""Applications that use, break and replace models at random, for as long as you like; prints what came of it.

    python tests/soak/soak.py [--seconds 60] [--seed N]

Several client processes, each with models in workers of their own and in a shared one, and several threads. Models
crash, hang, raise and lie; workers are killed from outside, and so are the clients, which are replaced. Exit status 1
if an answer was wrong or lost, an error was not the one provoked, or something is left at the end.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from calls import Figures  # noqa: E402 - lies beside this file
from left_behind import named_segments, wait_none_marked  # noqa: E402 - lies beside this folder
from sample_packages import python_neuropod  # noqa: E402

CLIENTS = 2
MARK = "NEUROPOD_OPE_SOAK"
LIFE_S = 45.0  # of a client on average, until it is killed
GROWTH = 48 * 2**20  # bytes that a client may have more after its last round than after its second


class Client:
    """One process of client.py and its lines so far."""

    def __init__(self, package, cache, mark, seed, seconds):
        arguments = (package, cache, MARK, str(seed), str(seconds))
        environ = {**os.environ, MARK: mark, "PYTHONPATH": str(HERE.parent)}
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `rounds`
        command = [sys.executable, HERE / "client.py", *arguments]
        self.process = subprocess.Popen(command, env=environ, stdout=self.output, stderr=subprocess.STDOUT)
        self.killed = False

    def kill(self):
        self.killed = True
        self.process.kill()

    def rounds(self):
        """Its reports. Whatever else it said is a failure, but for a line that its end has cut off."""
        self.process.wait()
        self.output.seek(0)
        lines = self.output.read().splitlines(keepends=True)
        self.output.close()
        if self.killed and lines and not lines[-1].endswith("\n"):
            lines.pop()
        return [json.loads(line) for line in lines]


def soak(seconds, seed, folder):
    """Run it; returns the clients."""
    rng = random.Random(seed)
    mark = f"{os.getpid()}.{rng.getrandbits(40):x}"
    specs = [{"name": "x", "dtype": "float64", "shape": (None,)}, {"name": "text", "dtype": "string", "shape": ()}]
    package = python_neuropod(
        folder,
        {"main.py": (HERE / "soaked_model.py").read_text()},
        input_spec=[*specs, {"name": "order", "dtype": "string", "shape": ()}],
        output_spec=[{**specs[0], "name": "y"}, specs[1]],
    )
    until = time.monotonic() + seconds

    def start():
        return Client(package, folder / "cache", mark, rng.getrandbits(32), until - time.monotonic())

    running = [start() for _ in range(CLIENTS)]
    ended = []
    while time.monotonic() < until:
        time.sleep(min(rng.expovariate(CLIENTS / LIFE_S), max(until - time.monotonic(), 0.0)))
        if time.monotonic() < until - 2:
            victim = running.pop(rng.randrange(CLIENTS))
            victim.kill()
            ended.append(victim)
            running.append(start())
    clients = ended + running
    for client in clients:
        client.process.wait()
    wait_none_marked(mark)
    return clients


def judged(clients):
    """The figures, and what is wrong, as text."""
    figures = dict.fromkeys(Figures().counts, 0)
    recoveries, wrong = [], []
    for client in clients:
        rounds = client.rounds()
        if not client.killed and client.process.returncode != 0:
            wrong.append(f"a client ended with status {client.process.returncode}")
        for one in rounds:
            for name in figures:
                figures[name] += one[name]
            recoveries += one["recoveries"]
            wrong += one["wrong"]
        if len(rounds) > 2 and rounds[-1]["resident"] - rounds[1]["resident"] > GROWTH:
            wrong.append(f"the memory of a client grew: {[one['resident'] >> 20 for one in rounds]} MiB")
    figures["clients"] = len(clients)
    figures["clients killed"] = sum(client.killed for client in clients)
    figures["median recovery"] = f"{1000 * statistics.median(recoveries or [0]):.0f} ms"
    figures["worst recovery"] = f"{1000 * max(recoveries, default=0):.0f} ms"
    return figures, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s", flush=True)
    segments = named_segments()
    with tempfile.TemporaryDirectory() as folder:
        figures, wrong = judged(soak(options.seconds, options.seed, Path(folder)))
    for name, figure in figures.items():
        print(f"{name:18} {figure}")
    if named_segments() - segments:
        wrong.append(f"left in /dev/shm: {named_segments() - segments}")
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
