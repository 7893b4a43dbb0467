#!/usr/bin/env python3
"""What a flood of handshake initiations costs the data of an established peer, by its rate and beside other programs.

    flood.py [--rounds N] [--seconds S] [--impls a,b] [--docs]

     namespace e1                   namespace e2                    namespace e3
     data, pings --- veth, tunnel --- the daemon under flood --- veth --- examples/flood, 65,536 addresses of 10.1.0.0/16

Data is 4,000 numbered datagrams of 1,200 bytes a second, out of e1 into e2 (see sequence.py). All implementations stand at
once; a round measures one rate of all of them, then the next.
Writes target/bench/flood.json; with --docs also the table of docs/reliability.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import bench
import tunnels
from tunnels import BenchError, run, within

BEGIN, END = "<!-- the table of floods begins: written by `make bench-flood` -->", "<!-- the table of floods ends -->"

# Messages a second, how many at once, and how that is called.
FLOODS = [
    (0, 1, "none"),
    (1_000, 1, "1,000"),
    (5_000, 5, "5,000"),
    (10_000, 10, "10,000"),
    (20_000, 20, "20,000"),
    (10_000, 1_000, "10,000, in bursts of 1,000"),
]
SEQUENCE = pathlib.Path(__file__).resolve().parent / "sequence.py"
PORT, RATE, LENGTH = 5400, 4_000, 1_200
IMPLEMENTATIONS = ["rvpn", "wireguard-go", "boringtun"]


def main():
    parser = argparse.ArgumentParser(description="measures what a flood of initiations costs established peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each flood")
    parser.add_argument("--impls", default=",".join(IMPLEMENTATIONS))
    parser.add_argument("--docs", action="store_true", help="write the table of docs/reliability.md")
    options = parser.parse_args()
    tunnels.enter([os.path.abspath(sys.argv[0]), *sys.argv[1:]])
    tunnels.heed_signals()
    world = tunnels.World()
    try:
        results = measure(world, options)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is written", file=sys.stderr)
        return 130
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        world.close()
    folder = tunnels.release().parent / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flood.json").write_text(json.dumps(results, indent=1))
    print("\n" + markdown(results))
    if options.docs:
        write_docs(results)
    return 0


def measure(world, options):
    join_flooder(world)
    known = tunnels.implementations()
    stand, missing = [], []
    for n, name in enumerate(options.impls.split(","), 1):
        if name not in known or not known[name].found():
            missing.append(name)
            continue
        stand.append(tunnels.Tunnel(world, known[name], n))
    results = {
        "machine": bench.machine(), "rounds": options.rounds, "seconds": options.seconds, "missing": missing,
        "labels": {tunnel.implementation.name: tunnel.implementation.label for tunnel in stand},
        "values": {tunnel.implementation.name: {shown: [] for _, _, shown in FLOODS} for tunnel in stand},
    }
    for n in range(1, options.rounds + 1):
        for rate, burst, shown in FLOODS:
            for tunnel in stand:
                value = one(tunnel, rate, burst, options.seconds)
                results["values"][tunnel.implementation.name][shown].append(value)
                bench.say(f"round {n}: flood {shown}: {tunnel.implementation.label}: {value}")
    return results


def join_flooder(world):
    run("ip", "netns", "add", "e3")
    run("ip", "-n", "e3", "link", "set", "lo", "up")
    run("ip", "link", "add", "flood2", "netns", "e2", "type", "veth", "peer", "name", "flood3", "netns", "e3")
    for netns, name, address in (("e2", "flood2", "10.3.0.1/24"), ("e3", "flood3", "10.3.0.2/24")):
        run("ip", "-n", netns, "addr", "add", address, "dev", name)
        run("ip", "-n", netns, "link", "set", name, "up")
    run("ip", "-n", "e3", "route", "add", "local", "10.1.0.0/16", "dev", "lo")
    run("ip", "-n", "e2", "route", "add", "10.1.0.0/16", "via", "10.3.0.2")


def one(tunnel, rate, burst, seconds):
    """One flood: percent of the data that was lost, its time on the way, CPU of the flooded daemon."""
    world = tunnel.world
    tunnel.reaches()
    cpu, flooder = tunnel.cpu_seconds()[1], None
    if rate:
        command = [tunnels.examples() / "flood", tunnel.publics[1], f"10.3.0.1:{tunnel.ports[1]}", "10.1.0.0", rate, burst,
                   seconds + 1]
        flooder = world.start(3, command, "flood.log")
        time.sleep(0.3)
    (tunnels.RUN / "received").unlink(missing_ok=True)
    receiver = world.start(2, [sys.executable, SEQUENCE, "receive", tunnel.addresses[1], PORT], "received")
    within(5, "the receiver is bound", lambda: str(PORT) in world.command(2, "ss", "-Hlun", f"sport = :{PORT}"))
    started = time.monotonic()
    sent = int(world.command(1, sys.executable, SEQUENCE, "send", tunnel.addresses[1], PORT, RATE, LENGTH, seconds))
    took, used = time.monotonic() - started, tunnel.cpu_seconds()[1] - cpu
    finish(receiver, 25, "received")
    if flooder:
        finish(flooder, seconds + 5, "flood.log")
    received, median, p99, longest = (tunnels.RUN / "received").read_text().split()
    return {"lost": 100 * (1 - int(received) / sent), "median": float(median), "p99": float(p99), "longest": float(longest),
            "cpu": 100 * used / took}


def finish(process, seconds, log):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{process.args} did not end") from None
    if process.returncode:
        raise BenchError(f"{process.args}: " + (tunnels.RUN / log).read_text()[-200:])


def cell(values):
    """Medians over the rounds."""
    lost, p99, cpu = (statistics.median(value[key] for value in values) for key in ("lost", "p99", "cpu"))
    return f"{lost:.2f} % lost, p99 {p99:.2f} ms, CPU {cpu:.0f} %"


def markdown(results):
    machine, names = results["machine"], list(results["labels"])
    lines = [f"{machine['cores']} cores, {machine['cpu']}, Linux {machine['kernel']}, load {machine['load_before']:.1f} "
             f"before the run. Medians of {results['rounds']} floods of {results['seconds']} s.", "",
             "| initiations a second | " + " | ".join(results["labels"][name] for name in names) + " |",
             "|" + "---|" * (len(names) + 1)]
    for _, _, shown in FLOODS:
        lines.append(f"| {shown} | " + " | ".join(cell(results["values"][name][shown]) for name in names) + " |")
    lines += [""] + [f"Not measured: {name} is not here." for name in results["missing"]]
    return "\n".join(lines).rstrip()


def write_docs(results):
    page = tunnels.ROOT / "docs" / "reliability.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}")
    print("docs/reliability.md is updated")


if __name__ == "__main__":
    sys.exit(main())
