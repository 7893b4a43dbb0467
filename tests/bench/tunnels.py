"""A world of its own, and tunnels in it.

The driver runs in a mount and a network namespace of its own with an empty /run, so that names, sockets and interfaces
cannot meet those of the host, and the kernel takes the whole world back at the end.

     namespace e1                                     namespace e2
    +-------------------------------+                +-------------------------------+
    | bN1 10.77.N.1  daemon bN1     |  veth, 1500    |     daemon bN2  10.77.N.2 bN2 |
    |                 10.0.0.1 -----|----------------|----- 10.0.0.2                 |
    +-------------------------------+                +-------------------------------+

Each implementation has a pair of daemons of its own, N for its place in the list. All stand at once and idle in turn, so
that every round meets the same machine.

Only processes started here are ended, each by its own handle.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

MTU = 1420
RUN = pathlib.Path("/run/bench")


class BenchError(Exception):
    """Something a person should read; says what and why."""


class Implementation:
    """A program that makes tunnels, or a ceiling."""

    def __init__(self, name, label, program, arguments, kind="daemon", environment=None):
        self.name, self.label, self.program, self.arguments, self.kind = name, label, program, arguments, kind
        self.environment = environment or {}

    def found(self):
        return self.kind == "bare" or (self.program and os.access(self.program, os.X_OK))


ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def release():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def examples():
    return release() / "examples"


def implementations():
    """Every implementation by name, in the order of the table. Programs from the registries are where scripts/needs puts
    them."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "rvpn"

    def cached(folder, program):
        found = sorted(cache.glob(f"{folder}-[0-9]*/bin/{program}"))
        return str(found[-1]) if found else ""

    null = str(examples() / "null_tunnel")
    rust = ["--foreground", "--disable-drop-privileges", "--verbosity", "error"]
    listed = [
        Implementation("rvpn", "rvpn", os.environ.get("IMPL", str(release() / "rvpn")), ["-f"], environment={"LOG_LEVEL": "error"}),
        Implementation("wireguard-go", "wireguard-go (Debian)", shutil.which("wireguard-go") or "", ["-f"],
                       environment={"LOG_LEVEL": "error"}),
        # One thread is its best on few cores; its default is four.
        Implementation("boringtun", "boringtun", cached("boringtun-cli", "boringtun-cli"), rust + ["--threads", "1"]),
        Implementation("gotatun", "gotatun", cached("gotatun-cli", "gotatun"), rust),
        Implementation("null-aead", "null tunnel with AEAD", null, ["--aead"], kind="null"),
        Implementation("null", "null tunnel", null, [], kind="null"),
        Implementation("bare", "bare veth", "", [], kind="bare"),
    ]
    return {implementation.name: implementation for implementation in listed}


def run(*command, **options):
    """Runs a command to its end; returns its standard output."""
    options.setdefault("timeout", 120)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise BenchError(f"{words[:200]}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def within(seconds, what, condition, pause=0.01):
    """Waits for a condition; returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def enter(arguments):
    """Runs the driver again in namespaces of its own; returns in the inner run."""
    if "RVPN_BENCH_INSIDE" not in os.environ:
        flags = ["--mount", "--net"]
        if os.geteuid() != 0:
            flags = ["--user", "--map-root-user"] + flags
        os.environ["RVPN_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", *flags, "--", sys.executable, *arguments])
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    RUN.mkdir(mode=0o700)


class World:
    """The two ends and every process in them."""

    def __init__(self):
        self.processes = []
        for end in ("e1", "e2"):
            run("ip", "netns", "add", end)
            run("ip", "-n", end, "link", "set", "lo", "up")
        run("ip", "link", "add", "veth1", "netns", "e1", "type", "veth", "peer", "name", "veth2", "netns", "e2")
        for n in (1, 2):
            run("ip", "-n", f"e{n}", "addr", "add", f"10.0.0.{n}/16", "dev", f"veth{n}")
            run("ip", "-n", f"e{n}", "link", "set", f"veth{n}", "mtu", 1500, "up")

    def start(self, end, command, log="log", environment=None):
        """Starts a process at an end. The handle is that of the program itself: nsenter becomes it."""
        with open(RUN / log, "ab") as sink:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/e{end}", "--", *[str(word) for word in command]],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={**os.environ, **(environment or {})})
        self.processes.append(process)
        return process

    def command(self, end, *command, **options):
        """Runs a command at an end to its end; returns its standard output."""
        return run("nsenter", f"--net=/run/netns/e{end}", "--", *command, **options)

    def end(self, *processes):
        """Ends processes that were started here and waits for them."""
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process in self.processes:
                self.processes.remove(process)

    def close(self):
        """Ends everything. The namespaces go with the driver."""
        self.end(*list(self.processes))


class Tunnel:
    """A pair of daemons, one at each end, or what stands in for it."""

    def __init__(self, world, implementation, n, start=True):
        self.world, self.implementation, self.n = world, implementation, n
        self.daemons, self.keys = [], []
        if implementation.kind == "bare":
            self.addresses = ["10.0.0.1", "10.0.0.2"]
            return
        self.names = [f"b{n}{end}" for end in (1, 2)]
        self.addresses = [f"10.77.{n}.{end}" for end in (1, 2)]
        self.ports = [20_000 + 10 * n + end for end in (1, 2)]
        if start:
            self.start()
            self.configure()
            self.up()
            self.reaches()

    def start(self):
        for end in (1, 2):
            implementation = self.implementation
            command = [implementation.program, *implementation.arguments, self.names[end - 1]]
            if implementation.kind == "null":
                command += [self.ports[end - 1], f"10.0.0.{3 - end}:{self.ports[2 - end]}"]
            log = f"{self.names[end - 1]}.log"
            (RUN / log).unlink(missing_ok=True)
            self.daemons.append(self.world.start(end, command, log, implementation.environment))
        for end in (1, 2):
            within(10, f"{self.implementation.label} is ready: {self.last_words(end)}", lambda: self.is_ready(end))

    def last_words(self, end):
        log = RUN / f"{self.names[end - 1]}.log"
        return log.read_text(errors="replace").strip()[-200:] if log.exists() else ""

    def is_ready(self, end):
        if self.daemons[end - 1].poll() is not None:
            raise BenchError(f"{self.implementation.label} ended: {self.last_words(end)}")
        if self.implementation.kind == "null":
            return "ready" in self.last_words(end)
        # `wg` deletes a socket that is bound but does not listen yet; ours is in place only when it listens.
        socket = f"/{self.names[end - 1]}.sock"
        if not pathlib.Path(f"/run/wireguard{socket}").exists():
            return False
        if self.implementation.name != "rvpn" and socket + " " not in self.world.command(end, "ss", "-Hxl"):
            return False
        return subprocess.run(["wg", "show", self.names[end - 1]], capture_output=True).returncode == 0

    def configure(self):
        if self.implementation.kind != "daemon":
            return
        self.keys = [run("wg", "genkey").strip() for _ in (1, 2)]
        self.publics = [run("wg", "pubkey", input=key).strip() for key in self.keys]
        for end in (1, 2):
            file = RUN / "private-key"
            file.write_text(self.keys[end - 1])
            run("wg", "set", self.names[end - 1], "private-key", file, "listen-port", self.ports[end - 1],
                "peer", self.publics[2 - end], "allowed-ips", f"{self.addresses[2 - end]}/32",
                "endpoint", f"10.0.0.{3 - end}:{self.ports[2 - end]}")

    def up(self):
        for end in (1, 2):
            name, netns = self.names[end - 1], f"e{end}"
            run("ip", "-n", netns, "addr", "add", f"{self.addresses[end - 1]}/24", "dev", name)
            run("ip", "-n", netns, "link", "set", name, "mtu", MTU, "up")

    def reaches(self):
        """Milliseconds until the first ping is answered, handshake included."""
        started = time.monotonic()
        out = self.world.command(1, "ping", "-n", "-c", 1, "-W", 5, self.addresses[1])
        found = re.search(r"time=([0-9.]+) ms", out)
        return float(found[1]) if found else 1e3 * (time.monotonic() - started)

    def stop(self):
        self.world.end(*self.daemons)
        self.daemons = []
        for end in (1, 2):
            if self.implementation.kind != "bare":
                within(5, f"{self.names[end - 1]} is gone", lambda: self.names[end - 1] not in
                       run("ip", "-n", f"e{end}", "-br", "link"))

    # What the kernel says of the daemons.

    def cpu_seconds(self):
        """CPU seconds of each daemon so far, all its threads."""
        return [cpu_seconds(daemon.pid) for daemon in self.daemons]

    def arrived(self):
        """Packets and bytes that came out of the tunnel at the second end so far."""
        name = "veth2" if self.implementation.kind == "bare" else self.names[1]
        seen = json.loads(run("ip", "-n", "e2", "-s", "-j", "link", "show", name))[0]["stats64"]["rx"]
        return seen["packets"], seen["bytes"]

    def memory(self, field="VmRSS"):
        """MiB of each daemon."""
        return [memory(daemon.pid, field) for daemon in self.daemons]


class Crowd:
    """Many peers at the second end, each a daemon of ours with its own key, interface and address 10.79.0.N."""

    def __init__(self, world, count, hub_address, hub_port):
        self.world, self.count, self.hub = world, count, f"{hub_address}:{hub_port}"
        self.daemons, self.publics = [], []

    def members(self):
        """Public key, inner address and port of each."""
        return [(public, f"10.79.0.{n}", 21_000 + n) for n, public in enumerate(self.publics, 1)]

    def start(self, hub_public, hub_inner):
        program = str(release() / "rvpn")
        names = [f"c{n}" for n in range(1, self.count + 1)]
        for name in names:
            self.daemons.append(self.world.start(2, [program, "-f", name], "crowd.log", {"LOG_LEVEL": "error"}))
        commands, rules = [], []
        key_file = RUN / "crowd-key"
        for n, name in enumerate(names, 1):
            within(20, f"{name} is ready", lambda: pathlib.Path(f"/run/wireguard/{name}.sock").exists())
            key = run("wg", "genkey").strip()
            self.publics.append(run("wg", "pubkey", input=key).strip())
            key_file.write_text(key)
            run("wg", "set", name, "private-key", key_file, "listen-port", 21_000 + n,
                "peer", hub_public, "allowed-ips", f"{hub_inner}/32", "endpoint", self.hub)
            commands += [f"addr add 10.79.0.{n}/32 dev {name}", f"link set {name} mtu {MTU} up",
                         f"route add {hub_inner}/32 dev {name} table {1000 + n}"]
            # By the sender's address: they all lead to the same one.
            rules.append(f"rule add from 10.79.0.{n} lookup {1000 + n}")
        run("ip", "-n", "e2", "-batch", "-", input="\n".join(commands + rules) + "\n")

    def stop(self):
        self.world.end(*self.daemons)
        for n in range(1, len(self.daemons) + 1):
            subprocess.run(["ip", "-n", "e2", "rule", "del", "from", f"10.79.0.{n}"], capture_output=True)


TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid, field):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) / 1024


def machine_busy():
    """CPU seconds the whole machine has spent at work."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS


def random_key():
    return base64.b64encode(os.urandom(32)).decode()


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


def heed_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
