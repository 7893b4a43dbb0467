#!/usr/bin/env python3
"""Does a tunnel under load stay as good as it was? Line rate, new keys every six seconds, and something happening to it
all the time.

Two daemons, compiled with `--cfg fast_timers` so that keys live a twentieth of their time, at the two ends of a cable
(see ../bench/tunnels.py). TCP as fast as it goes, in changing patterns; datagrams every 10 ms each way, whose losses are
the measure (see probe.py). Every minute, in turns (see trouble.py): an end roams, an interface flaps, the cable is pulled,
and between them peers are added, changed and removed as fast as `wg` starts.

What fails the test:
  * more than 200 ms without a datagram while nothing but rekeys and configuration happens;
  * more than 2 s without one after the end of any trouble;
  * memory that grows: a line through the second half of the daemons' RSS that rises by more than 2 MiB;
  * an imbalance at the end of a minute, when all but the one peer is removed: peers, indices, staged packets, threads,
    files; or one at the end, when a daemon that is told to end must leave nothing, within 2 s.

Ends by itself, or by Ctrl-C with what it has seen so far. A line a minute; then a table, written to --docs too.
"""

import argparse
import calendar
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))

from tunnels import RUN, Implementation, Tunnel, World, enter, heed_signals, memory, within  # noqa: E402

import results  # noqa: E402
from losses import Losses  # noqa: E402
from trouble import Trouble  # noqa: E402

MINUTE = 60
LONGEST_QUIET_LOSS = 0.200
LONGEST_RECOVERY = 2.0
GROWTH_MIB = 2.0
# A rekey is a burst's neighbour if this close.
REKEY_WINDOW = 1.0


def main():
    options = arguments()
    enter(sys.argv)
    heed_signals()
    world = World()
    try:
        soak = Soak(world, options)
        try:
            soak.run()
        except KeyboardInterrupt:
            print("interrupted: what was seen until here", flush=True)
        ok = soak.finish()
    finally:
        world.close()
    sys.exit(0 if ok else 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--docs", type=pathlib.Path, help="a Markdown file whose soak section is to be replaced")
    parser.add_argument("--samples", type=pathlib.Path, help="a file for the figures of every second")
    return parser.parse_args()


class Soak:
    """The run and what it has seen."""

    def __init__(self, world, options):
        self.world, self.options = world, options
        self.failures, self.samples = [], []
        # Seconds without a datagram: with nothing but rekeys near, and by kind of trouble.
        self.quiet, self.recoveries = [], {}
        self.near_rekey = []
        self.rekeys, self.objects, self.delays = [], [], []
        self.minute = 0
        program = os.environ["IMPL"]
        implementation = Implementation("rvpn", "rvpn", program, ["-f"], environment={"LOG_LEVEL": "verbose"})
        for end in (1, 2):
            # The kernel takes a global IPv6 address away with the link otherwise.
            world.command(end, "sysctl", "-qw", "net.ipv6.conf.all.keep_addr_on_down=1")
            world.command(end, "ip", "addr", "add", f"fd00:aa::{end}/64", "dev", f"veth{end}", "nodad")
        self.tunnel = Tunnel(world, implementation, 1)
        self.trouble = Trouble(world, self.tunnel)
        self.logs = [LogReader(RUN / f"{name}.log") for name in self.tunnel.names]
        self.start_probes()
        self.traffic = Traffic(world, self.tunnel)
        if options.samples:
            options.samples.parent.mkdir(parents=True, exist_ok=True)
            self.sample_file = open(options.samples, "w", buffering=1)
            print("seconds,mbit_s,rekeys,rss1_mib,rss2_mib,lost", file=self.sample_file)

    def start_probes(self):
        self.losses = []
        for end in (1, 2):
            records = RUN / f"probe{end}"
            self.world.start(end, [sys.executable, HERE / "probe.py", self.tunnel.addresses[end - 1],
                                   self.tunnel.addresses[2 - end], 7777, records], "probe.log")
            self.losses.append(Losses(records))
        for losses in self.losses:
            within(10, "the datagrams come through", lambda: losses.read() or losses.received)

    def run(self):
        self.started = time.monotonic()
        self.moved, self.moved_at = self.bytes_moved(), self.started
        self.traffic.start()
        for self.minute in range(1, self.options.minutes + 1):
            self.trouble.start(self.minute)
            end = self.started + self.minute * MINUTE
            while time.monotonic() < end - 1:
                time.sleep(max(0, min(1, end - 1 - time.monotonic())))
                self.sample()
            self.trouble.finish()
            self.balance()
            self.tell()

    # What is seen every second.

    def sample(self):
        now = time.monotonic()
        for daemon, name in zip(self.tunnel.daemons, self.tunnel.names):
            if daemon.poll() is not None:
                raise SystemExit(f"the daemon of {name} ended by itself: status {daemon.returncode}")
        for log in self.logs:
            self.rekeys += log.read()
        moved = self.bytes_moved()
        rate = 8e-6 * (moved - self.moved) / (now - self.moved_at)
        self.moved, self.moved_at = moved, now
        lost = sum(losses.lost for losses in self.losses)
        self.judge_losses()
        rss = self.tunnel.memory()
        self.samples.append((now - self.started, rate, len(self.rekeys), *rss))
        if self.options.samples:
            lost = sum(losses.lost for losses in self.losses) - lost
            print(f"{now - self.started:.1f},{rate:.0f},{len(self.rekeys)},{rss[0]:.2f},{rss[1]:.2f},{lost}",
                  file=self.sample_file)

    def bytes_moved(self):
        """What came out of the tunnel at both ends so far."""
        moved = 0
        for daemon, name in zip(self.tunnel.daemons, self.tunnel.names):
            table = pathlib.Path(f"/proc/{daemon.pid}/net/dev").read_text()
            moved += int(re.search(rf"^\s*{name}:\s*(\d+)", table, re.M)[1])
        return moved

    def judge_losses(self, final=False):
        for end, losses in enumerate(self.losses, 1):
            for begin, until, count in losses.read(final):
                self.judge_loss(end, begin, until, count)
            delays = losses.take_delays()
            self.delays += delays

    def judge_loss(self, end, begin, until, count):
        """Whose fault is it that `count` datagrams to `end` were lost?"""
        # The time its sender waited for a core is no loss of the tunnel's.
        seconds = min(until - begin, count * 0.01)
        at = begin - self.started
        event = self.trouble.reason(begin, until, LONGEST_RECOVERY)
        if event:
            kind, ended = event
            recovery = min(seconds, max(0.0, until - max(ended, begin)))
            self.recoveries.setdefault(kind, []).append(recovery)
            if recovery > LONGEST_RECOVERY:
                self.fail(f"second {at:.1f}: {recovery:.2f} s without a datagram to end {end} after: {kind}")
            return
        near = any(begin - REKEY_WINDOW <= rekey <= until + REKEY_WINDOW for rekey in self.rekeys[-40:])
        (self.near_rekey if near else self.quiet).append(seconds)
        if seconds > LONGEST_QUIET_LOSS:
            where = "at a rekey" if near else "with no rekey near"
            self.fail(f"second {at:.1f}: {seconds:.2f} s without a datagram to end {end}, {where}")

    # What is seen every minute, when configuration is back where it was.

    def balance(self):
        found = []
        for name, daemon, log in zip(self.tunnel.names, self.tunnel.daemons, self.logs):
            self.rekeys.extend(log.read())
            objects = ask_objects(name)
            objects["threads"] = len(os.listdir(f"/proc/{daemon.pid}/task"))
            objects["files"] = len(os.listdir(f"/proc/{daemon.pid}/fd"))
            found.append(objects)
        self.objects.append(found)
        for end, (objects, first) in enumerate(zip(found, self.objects[0]), 1):
            self.expect(end, "peers", objects["peers"], 1)
            self.expect(end, "handshakes", objects["handshakes"], at_most=1)
            self.expect(end, "keypairs", objects["keypairs"], at_most=3)
            self.expect(end, "staged packets", objects["staged packets"], at_most=128)
            # Outdated entries are let go when they come up: one for each of a key's short deadlines.
            self.expect(end, "deadlines", objects["deadlines"], at_most=256 * 50)
            self.expect(end, "buffers", objects["buffers"], at_most=256)
            self.expect(end, "threads", objects["threads"], first["threads"])
            # A configuration client may be connected at this moment.
            self.expect(end, "files", objects["files"], at_most=first["files"] + 2)

    def expect(self, end, what, found, exactly=None, at_most=None):
        if found != exactly if at_most is None else found > at_most:
            bound = f"at most {at_most}" if exactly is None else exactly
            self.fail(f"minute {self.minute}: end {end} has {found} {what}, expected {bound}")

    def tell(self):
        last = self.samples[-MINUTE:]
        rate = sum(sample[1] for sample in last) / max(1, len(last))
        rekeys = len(self.rekeys) - (last[0][2] if last else 0)
        loss = max(self.quiet + self.near_rekey, default=0)
        recovery = max((max(found) for found in self.recoveries.values()), default=0)
        rss = " ".join(f"{mib:.1f}" for mib in self.samples[-1][3:])
        print(f"minute {self.minute} of {self.options.minutes}: {rate / 1000:.2f} Gbit/s, {rekeys} keys; so far: longest loss "
              f"{1e3 * loss:.0f} ms, after trouble {1e3 * recovery:.0f} ms; RSS {rss} MiB; "
              f"{len(self.failures)} failures", flush=True)

    # The end.

    def finish(self):
        self.trouble.finish()
        self.traffic.stop()
        if not self.samples:
            return False
        # Whoever is cut off at the end has no later datagram to show it.
        time.sleep(LONGEST_RECOVERY)
        before = [losses.received for losses in self.losses]
        self.judge_losses()
        for end, (losses, count) in enumerate(zip(self.losses, before), 1):
            if losses.received == count:
                self.fail(f"nothing comes through to end {end} at the end")
        self.judge_losses(final=True)
        growth = [results.growth([(sample[0], sample[3 + n]) for sample in self.samples]) for n in (0, 1)]
        for end, mib in enumerate(growth, 1):
            if mib > GROWTH_MIB:
                self.fail(f"the memory of end {end} grew by {mib:.1f} MiB in the second half")
        left, seconds = self.shut_down()
        table = results.table(self, growth, left, seconds)
        print(table, flush=True)
        for failure in self.failures:
            print(f"FAIL: {failure}")
        if self.options.docs:
            results.write(self.options.docs, table)
        return not self.failures

    def shut_down(self):
        """Ends the daemons; returns what each says it left, and how long it took."""
        left, longest = [], 0.0
        for end, (daemon, log) in enumerate(zip(self.tunnel.daemons, self.logs), 1):
            started = time.monotonic()
            daemon.terminate()
            try:
                status = daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.fail(f"the daemon of end {end} does not end")
                continue
            seconds = time.monotonic() - started
            longest = max(longest, seconds)
            if status or seconds > 2:
                self.fail(f"the daemon of end {end} ended with status {status} after {seconds:.1f} s")
            log.read()
            objects = log.take_left()
            left.append(objects)
            for what in ("handshakes", "keypairs", "staged packets", "queued messages"):
                if not objects or objects[what]:
                    self.fail(f"end {end} left {objects and objects[what]} {what}")
        return left, longest

    def fail(self, text):
        self.failures.append(text)
        if len(self.failures) <= 20:
            print(f"  failure: {text}", flush=True)


class LogReader:
    """The log of a daemon, read as it grows: when keypairs were made, and the objects it tells of."""

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.left = None
        # Its times are of the calendar.
        self.calendar = time.time() - time.monotonic()

    def read(self):
        """Returns when new keypairs were made, on CLOCK_MONOTONIC."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        data = data[:data.rfind(b"\n") + 1]
        self.offset += len(data)
        made = []
        for line in data.decode(errors="replace").splitlines():
            if "Keypair created" in line:
                made.append(self.when(line))
            elif "left: " in line:
                self.left = counts(line)
        return made

    def when(self, line):
        stamp = re.search(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)Z", line)
        parsed = time.strptime(stamp[1] + "UTC", "%Y-%m-%dT%H:%M:%S%Z")
        return calendar.timegm(parsed) + float(stamp[2]) - self.calendar

    def take_left(self):
        return self.left


def ask_objects(name):
    """Asks the daemon what it holds."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(f"/var/run/wireguard/{name}.sock")
        client.sendall(b"rvpn_ask=objects\n\n")
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
    return counts(answer.decode().splitlines()[0])


def counts(line):
    """`1 peers, 0 staged packets` as a dictionary."""
    held = line.split(";")[0]
    return {what: int(count) for count, what in re.findall(r"(\d+) ([a-z]+(?: [a-z]+)?)(?=,|$)", held)}


class Traffic(threading.Thread):
    """TCP through the tunnel as fast as it goes, in patterns that change every quarter of a minute."""

    PATTERNS = [[], ["-R"], ["--bidir"], ["-P", "8"], ["-P", "8", "-R"]]
    SECONDS = 15

    def __init__(self, world, tunnel):
        super().__init__(daemon=True)
        self.world, self.tunnel = world, tunnel
        self.stopping = threading.Event()

    def run(self):
        n = 0
        while not self.stopping.is_set():
            pattern, port = self.PATTERNS[n % len(self.PATTERNS)], 5200 + n % 100
            n += 1
            server = self.world.start(2, ["iperf3", "-s", "-1", "-p", port], "iperf3-server.log")
            time.sleep(0.3)
            client = self.world.start(1, ["iperf3", "-c", self.tunnel.addresses[1], "-p", port, "-t", self.SECONDS,
                                          *pattern], "iperf3.log")
            deadline = time.monotonic() + self.SECONDS + 10
            # A flap may have ended it early; then the next begins.
            while client.poll() is None and time.monotonic() < deadline and not self.stopping.is_set():
                time.sleep(0.1)
            self.world.end(client, server)

    def stop(self):
        self.stopping.set()
        if self.is_alive():
            self.join()


if __name__ == "__main__":
    main()
