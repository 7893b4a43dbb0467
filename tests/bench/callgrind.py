#!/usr/bin/env python3
"""Counts the instructions of a packet, and the atomic ones among them, where no noise can move them.

    callgrind.py [--record]

Runs the release build of examples/replay under valgrind: two devices in one thread, bursts of 45 packets of 1,420 bytes.
The cost of a burst is the difference of a long and a short run, so that start-up cancels out; what stands for the
kernel (the copies into and out of memory that a system call would make) is counted alone and taken off.

The result is held against tests/bench/instructions.json to 3 %, less as well as more: an improvement is recorded with
--record, or the budget would not notice when it is lost. Atomic instructions are the locks and the reference counts: a
burst of 45 packets must need as many as a burst of 2.

valgrind has no AVX-512: AWS-LC takes its AVX2 code there, also on machines with more. Another CPU's features, another
compiler or another C library give other counts, so the file says what it was recorded with, and counts from elsewhere
are shown and not judged.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUDGET = ROOT / "tests" / "bench" / "instructions.json"
PROGRAM = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "replay"
SEGMENTS = 45
SHORT, LONG = 20, 60
TOLERANCE = 0.03


def main():
    if not shutil.which("valgrind"):
        print("callgrind: skipped: no valgrind here")
        return 1 if os.environ.get("STRICT") == "1" else 0
    atomics = atomic_addresses()
    cost = {what: per_burst(what, SEGMENTS, atomics) for what in ("out", "both", "kernel-out", "kernel-in")}
    few = {what: per_burst(what, 2, atomics) for what in ("out", "both", "kernel-out", "kernel-in")}
    instructions = {
        "out": (cost["out"][0] - cost["kernel-out"][0]) / SEGMENTS,
        "in": (cost["both"][0] - cost["out"][0] - cost["kernel-in"][0]) / SEGMENTS,
    }
    locked = {
        "out": (cost["out"][1] - cost["kernel-out"][1], few["out"][1] - few["kernel-out"][1]),
        "in": tuple(c["both"][1] - c["out"][1] - c["kernel-in"][1] for c in (cost, few)),
    }
    here = setting()
    print(f"instructions per packet of 1,420 bytes ({here['code']}, {here['compiler']}):")
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    comparable = budget.get("setting") == here
    failed = False
    for way in ("out", "in"):
        text = f"  {way:3} {instructions[way]:8.1f}"
        if way in budget.get("instructions", {}):
            change = instructions[way] / budget["instructions"][way] - 1
            text += f"   budget {budget['instructions'][way]:.1f}, {change:+.1%}"
            if comparable and abs(change) > TOLERANCE:
                failed = True
                text += "  FAIL: not within 3 %"
        print(text)
    print("atomic instructions per burst (locks and reference counts):")
    for way in ("out", "in"):
        many, two = locked[way]
        text = f"  {way:3} {many:6.1f} for {SEGMENTS} packets, {two:.1f} for 2"
        if many > two + 0.5:
            failed = True
            text += "  FAIL: some are per packet"
        print(text)
    if "--record" in sys.argv[1:]:
        rounded = {way: round(count, 1) for way, count in instructions.items()}
        BUDGET.write_text(json.dumps({"setting": here, "instructions": rounded}, indent=1) + "\n")
        print(f"recorded in {BUDGET.relative_to(ROOT)}")
        return 0
    if budget and not comparable:
        print(f"callgrind: recorded elsewhere ({budget['setting']}): not judged here")
    if failed:
        print("callgrind: if the change is meant, record it: make callgrind RECORD=1")
    return 1 if failed else 0


def per_burst(what, segments, atomics):
    """Instructions of one burst, and the atomic ones among them."""
    short, long = (count(what, bursts, segments, atomics) for bursts in (SHORT, LONG))
    return [(b - a) / (LONG - SHORT) for a, b in zip(short, long)]


def count(what, bursts, segments, atomics):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        # One hash seed less that changes from run to run; the addresses of --dump-instr are the program's own.
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={out}", str(PROGRAM), what,
             str(bursts), str(segments)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"callgrind: {done.stderr[-600:]}")
        global CODE
        CODE = done.stdout.split()[0]
        return total(out.read_text(), atomics)


CODE = "?"


def total(text, atomics):
    """Sums up a profile: lines `address line cost`, subpositions relative or repeated, calls' costs left out. Positions
    are instruction addresses within the object the `ob=` line names."""
    everything = locked = 0
    address, after_call, ours, objects = 0, False, False, {}
    for line in text.splitlines():
        if line.startswith(("ob=", "cob=")):
            kind, _, rest = line.partition("=")
            number, _, name = rest.partition(" ")
            if name:
                objects[number] = name
            if kind == "ob":
                ours = objects.get(number, "").endswith("/replay")
            continue
        if line.startswith("calls="):
            after_call = True
            continue
        if not line or line[0] not in "0123456789+-*":
            continue
        fields = line.split()
        place = fields[0]
        if place.startswith("0x"):
            address = int(place, 16)
        elif place[0] == "+":
            address += int(place[1:], 0)
        elif place[0] == "-":
            address -= int(place[1:], 0)
        elif place != "*":
            address = int(place, 0)
        if after_call:
            after_call = False
            continue
        cost = int(fields[-1])
        everything += cost
        if ours and address in atomics:
            locked += cost
    return everything, locked


def atomic_addresses():
    """Addresses of the instructions that lock the bus: those with the prefix, and exchanges with memory."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(PROGRAM)], capture_output=True, text=True, check=True)
    found = set()
    for line in text.stdout.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
        if match and (match[2].startswith("lock ") or re.match(r"xchg.*\(", match[2])):
            found.add(int(match[1], 16))
    if not found:
        sys.exit("callgrind: no atomic instruction in the program: was it built?")
    return found


def setting():
    """What the counts depend on."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    library = os.confstr("CS_GNU_LIBC_VERSION")
    return {"code": CODE, "compiler": f"rustc {compiler}", "library": library, "machine": os.uname().machine}


if __name__ == "__main__":
    sys.exit(main())
