#!/usr/bin/env python3
"""Measures rvpn beside its peers and its ceilings, all in one run, alternately: A B C, B C A.

    bench.py [--rounds N] [--seconds S] [--figures a,b] [--impls a,b] [--quick] [--docs]
    bench.py --docs --from RESULTS.json

The machine is never quiet, so no figure of one moment is worth much: each round measures every implementation right
after the other, and what is reported is the median over the rounds, its spread and its ratio to rvpn.

Writes target/bench/latest.json (and one file per run); with --docs also the table and the chart of docs/performance.md,
with --from of an earlier run.
"""

import argparse
import datetime
import json
import os
import pathlib
import sys
import time

import figures
import report
import tunnels
from tunnels import BenchError

QUICK = ["first", "tcp1", "udp64", "udp1392", "ping", "pingload", "rss"]


def main():
    options = parse()
    if options.results:
        return show(json.loads(pathlib.Path(options.results).read_text()), options)
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
    text = json.dumps(results, indent=1)
    (folder / (results["date"].replace(":", "") + ".json")).write_text(text)
    (folder / "latest.json").write_text(text)
    print()
    status = show(results, options)
    print(folder / "latest.json")
    return status


def show(results, options):
    print(report.table(results))
    if options.docs:
        report.write_docs(results, tunnels.ROOT / "docs")
        print("docs/performance.md and docs/performance.svg are updated")
    return 0


def parse():
    known = tunnels.implementations()
    parser = argparse.ArgumentParser(description="measures rvpn beside its peers and ceilings")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each stream")
    parser.add_argument("--figures", default="", help="of " + ",".join(figures.FIGURES))
    parser.add_argument("--impls", default="", help="of " + ",".join(known))
    parser.add_argument("--quick", action="store_true", help="the figures of every day, in about three minutes")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and its chart")
    parser.add_argument("--from", dest="results", metavar="RESULTS", help="show an earlier run instead of measuring")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 4)
    listed = [name for name in options.figures.split(",") if name]
    options.figures = listed or (QUICK if options.quick else list(figures.FIGURES))
    options.impls = [name for name in options.impls.split(",") if name] or list(known)
    for name, all_names in [(name, figures.FIGURES) for name in options.figures] + [(name, known) for name in options.impls]:
        if name not in all_names:
            parser.error(f"{name}: not one of {', '.join(all_names)}")
    return options


def measure(world, options):
    known = tunnels.implementations()
    stand, missing = [], []
    for n, name in enumerate(options.impls, 1):
        if not known[name].found():
            missing.append(name)
            say(f"{name}: not here, left out")
            continue
        stand.append(tunnels.Tunnel(world, known[name], n))
    results = {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": machine(), "rounds": options.rounds, "seconds": options.seconds,
        "labels": {tunnel.implementation.name: tunnel.implementation.label for tunnel in stand},
        "missing": missing, "failures": [], "values": {tunnel.implementation.name: {} for tunnel in stand},
    }
    started = time.monotonic()
    repeated = [name for name in options.figures if name not in figures.ONCE]
    once = [name for name in options.figures if name in figures.ONCE]
    plan = [(n, name) for n in range(1, options.rounds + 1) for name in repeated] + [(1, name) for name in once]
    for step, (n, name) in enumerate(plan):
        # Who comes first finds the machine as another figure has left it: each in turn.
        first = (n - 1) % len(stand)
        for tunnel in stand[first:] + stand[:first]:
            label = tunnel.implementation.name
            say(f"[{time.monotonic() - started:4.0f} s, {100 * step // len(plan):2} %] round {n}: {name}: {label}", end=" ")
            values = attempt(tunnel, name, options.seconds, results["failures"])
            for key, value in values.items():
                results["values"][label].setdefault(key, []).append(value)
            say("  ".join(f"{key} {value:.{figures.METRICS[key].digits}f}" for key, value in values.items()) or "-")
    return results


def attempt(tunnel, name, seconds, failures):
    """Measures once more if it fails: a machine at its limits loses a control connection now and then."""
    for last in (False, True):
        try:
            return figures.FIGURES[name](tunnel, seconds)
        except BenchError as error:
            say(f"({error})", end=" ")
            if last:
                failures.append(f"{name} of {tunnel.implementation.label}: {error}")
    return {}


def say(text, end="\n"):
    print(text, end=end, flush=True)


def machine():
    def first_of(path, key):
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
        return "?"
    return {"cpu": first_of("/proc/cpuinfo", "model name"), "cores": os.cpu_count(), "kernel": os.uname().release,
            "load_before": os.getloadavg()[0]}


if __name__ == "__main__":
    sys.exit(main())
