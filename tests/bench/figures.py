"""What is measured, one function per figure: each takes a tunnel and returns metrics by key.

A metric that an implementation cannot have (a daemon's CPU time on bare veth) is left out.
"""

import base64
import json
import pathlib
import re
import subprocess
import sys
import time

import tunnels
from tunnels import BenchError, RUN, cpu_seconds, machine_busy, memory, run, within


class Metric:
    """How a number is shown. `better` is 'more' or 'less'."""

    def __init__(self, label, unit, better, digits=2):
        self.label, self.unit, self.better, self.digits = label, unit, better, digits


METRICS = {
    "tcp1": Metric("TCP, 1 stream", "Gbit/s", "more"),
    "tcp4": Metric("TCP, 4 streams", "Gbit/s", "more"),
    "tcp16": Metric("TCP, 16 streams", "Gbit/s", "more"),
    "bidir": Metric("TCP both ways at once, sum", "Gbit/s", "more"),
    "cpu": Metric("both daemons, 1 stream", "CPU s/GB", "less"),
    "cpu_sender": Metric("sending daemon", "CPU s/GB", "less"),
    "cpu_receiver": Metric("receiving daemon", "CPU s/GB", "less"),
    "busy": Metric("whole machine busy, 1 stream", "CPU s/GB", "less"),
    "retransmits": Metric("TCP retransmits, 1 stream", "per GB", "less", 0),
    "retransmits16": Metric("TCP retransmits, 16 streams", "per GB", "less", 0),
    "udp64": Metric("UDP of 64 bytes under flood, received by the program", "k/s", "more", 0),
    "udp64_exit": Metric("UDP of 64 bytes under flood, out of the tunnel", "k/s", "more", 0),
    "udp1392": Metric("UDP of 1,392 bytes under flood, received by the program", "k/s", "more", 0),
    "udp1392_exit": Metric("UDP of 1,392 bytes under flood, out of the tunnel", "k/s", "more", 0),
    "ping": Metric("ping idle, median", "ms", "less", 3),
    "ping_p99": Metric("ping idle, p99", "ms", "less", 3),
    "pingload": Metric("ping under TCP, median", "ms", "less"),
    "pingload_p99": Metric("ping under TCP, p99", "ms", "less"),
    "first": Metric("first ping of a new tunnel, with handshake", "ms", "less"),
    "rss_idle": Metric("RSS idle, larger daemon", "MiB", "less", 1),
    "rss_loaded": Metric("RSS after load, larger daemon", "MiB", "less", 1),
    "rss_peak": Metric("RSS peak, larger daemon", "MiB", "less", 1),
    "handshakes": Metric("handshakes answered", "per s", "more", 0),
    "cookies": Metric("cookies asked for instead, of 5,000", "", "less", 0),
    "active100": Metric("TCP to 100 peers at once, sum", "Gbit/s", "more"),
}
for peers, shown in ((1, "1 peer"), (1_000, "1,000 peers"), (10_000, "10,000 peers"), (100_000, "100,000 peers")):
    METRICS[f"add{peers}"] = Metric(f"{shown}: configure", "s", "less", 3)
    METRICS[f"show{peers}"] = Metric(f"{shown}: show", "s", "less", 3)
    METRICS[f"rss{peers}"] = Metric(f"{shown}: RSS", "MiB", "less", 1)
    METRICS[f"idle{peers}"] = Metric(f"{shown}: idle CPU", "%", "less", 1)
    METRICS[f"tcp{peers}peers"] = Metric(f"{shown}: TCP of one", "Gbit/s", "more")


def iperf3(tunnel, seconds, *options, meanwhile=None):
    """Runs iperf3 from e1 to e2; returns what the client and the server saw, and what `meanwhile` returned."""
    world, address = tunnel.world, tunnel.addresses[1]
    seen = RUN / "iperf3-server.json"
    seen.unlink(missing_ok=True)
    server = world.start(2, ["iperf3", "-s", "-1", "-J", "-B", address], seen.name)
    try:
        within(5, "iperf3 listens", lambda: "5201" in world.command(2, "ss", "-Hltn", "sport = :5201"))
        client = subprocess.Popen(
            ["nsenter", "--net=/run/netns/e1", "--", "iperf3", "-c", address, "-t", str(seconds), "-J",
             *[str(option) for option in options]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        world.processes.append(client)
        result = meanwhile() if meanwhile else None
        try:
            out, _ = client.communicate(timeout=seconds + 20)
        except subprocess.TimeoutExpired:
            raise BenchError("iperf3 did not end") from None
        finally:
            world.end(client)
        sent = json.loads(out)
        if "error" in sent:
            raise BenchError(f"iperf3: {sent['error']}")
        server.wait(10)
        # A warning about the length of datagrams may come first.
        text = seen.read_text()
        return sent["end"], json.loads(text[text.find("{"):])["end"], result
    except (json.JSONDecodeError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"iperf3: {error}") from None
    finally:
        world.end(server)


def tcp(streams):
    def figure(tunnel, seconds):
        cpu, busy = tunnel.cpu_seconds(), machine_busy()
        sent, _, _ = iperf3(tunnel, seconds, "-P", streams)
        busy = machine_busy() - busy
        used = [after - before for before, after in zip(cpu, tunnel.cpu_seconds())]
        gigabytes = sent["sum_received"]["bytes"] / 1e9
        metrics = {f"tcp{streams}": sent["sum_received"]["bits_per_second"] / 1e9}
        if gigabytes == 0:
            return metrics
        retransmits = sent["sum_sent"]["retransmits"] / gigabytes
        if streams == 1:
            metrics |= {"busy": busy / gigabytes, "retransmits": retransmits}
            if used:
                metrics |= {"cpu": sum(used) / gigabytes, "cpu_sender": used[0] / gigabytes,
                            "cpu_receiver": used[1] / gigabytes}
        elif streams == 16:
            metrics["retransmits16"] = retransmits
        return metrics
    return figure


def bidir(tunnel, seconds):
    sent, _, _ = iperf3(tunnel, seconds, "--bidir")
    return {"bidir": (sent["sum_received"]["bits_per_second"] + sent["sum_received_bidir_reverse"]["bits_per_second"]) / 1e9}


def udp(length):
    def figure(tunnel, seconds):
        before = tunnel.arrived()
        _, seen, _ = iperf3(tunnel, seconds, "-u", "-b", 0, "-l", length)
        packets, octets = (after - first for first, after in zip(before, tunnel.arrived()))
        # One write to the interface may stand for many packets: a header of 28 bytes, and their payloads.
        exits = (octets - 28 * packets) / length
        total = seen["sum"]
        received = total["packets"] - total["lost_packets"]
        return {f"udp{length}": received / total["seconds"] / 1e3,
                f"udp{length}_exit": exits / total["seconds"] / 1e3}
    return figure


def ping_times(tunnel, count, interval):
    out = tunnel.world.command(1, "ping", "-n", "-i", interval, "-c", count, "-W", 2, tunnel.addresses[1])
    times = sorted(float(time) for time in re.findall(r"time=([0-9.]+) ms", out))
    if not times:
        raise BenchError("no ping was answered")
    return times


def at(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]


def ping(tunnel, _seconds):
    times = ping_times(tunnel, 200, 0.005)
    return {"ping": at(times, 0.5), "ping_p99": at(times, 0.99)}


def pingload(tunnel, seconds):
    def meanwhile():
        time.sleep(0.5)
        return ping_times(tunnel, int((seconds - 0.5) / 0.01), 0.01)
    _, _, times = iperf3(tunnel, seconds + 0.5, meanwhile=meanwhile)
    return {"pingload": at(times, 0.5), "pingload_p99": at(times, 0.99)}


def rss(tunnel, _seconds):
    """After the other figures: what they have left behind."""
    if not tunnel.daemons:
        return {}
    return {"rss_loaded": max(tunnel.memory()), "rss_peak": max(tunnel.memory("VmHWM"))}


def first(tunnel, _seconds):
    """On daemons that have just started: the first ping, and the memory before any load."""
    if tunnel.implementation.kind == "bare":
        return {}
    fresh = tunnels.Tunnel(tunnel.world, tunnel.implementation, FRESH, start=False)
    try:
        fresh.start()
        fresh.configure()
        fresh.up()
        metrics = {"rss_idle": max(fresh.memory())}
        taken = fresh.reaches()
        metrics["rss_idle"] = max(metrics["rss_idle"], *fresh.memory())
        return metrics | ({"first": taken} if tunnel.implementation.kind == "daemon" else {})
    finally:
        fresh.stop()


def peers(count):
    def figure(tunnel, seconds):
        if tunnel.implementation.kind != "daemon":
            return {}
        fresh = tunnels.Tunnel(tunnel.world, tunnel.implementation, FRESH, start=False)
        try:
            fresh.start()
            fresh.configure()
            fresh.up()
            fresh.reaches()
            many = RUN / "many.conf"
            with open(many, "w") as file:
                for n in range(count - 1):
                    file.write(f"[Peer]\nPublicKey = {tunnels.random_key()}\n"
                               f"AllowedIPs = 10.{128 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32\n")
            name, pid = fresh.names[0], fresh.daemons[0].pid
            metrics = {}
            started = time.monotonic()
            try:
                run("wg", "addconf", name, many, timeout=240)
            except BenchError as error:
                raise BenchError(f"{error}; its last words: {fresh.last_words(1) or 'none'}") from None
            metrics[f"add{count}"] = time.monotonic() - started
            started = time.monotonic()
            shown = run("wg", "show", name, "dump", timeout=120).count("\n") - 1
            metrics[f"show{count}"] = time.monotonic() - started
            if shown != count:
                raise BenchError(f"{shown} of {count} peers are shown")
            metrics[f"rss{count}"] = memory(pid, "VmRSS")
            time.sleep(0.5)
            before, started = cpu_seconds(pid), time.monotonic()
            time.sleep(2)
            metrics[f"idle{count}"] = 100 * (cpu_seconds(pid) - before) / (time.monotonic() - started)
            sent, _, _ = iperf3(fresh, seconds)
            metrics[f"tcp{count}peers"] = sent["sum_received"]["bits_per_second"] / 1e9
            return metrics
        finally:
            fresh.stop()
    return figure


def handshakes(tunnel, _seconds):
    """Initiations from as many peers, none of which was heard of before."""
    if tunnel.implementation.kind != "daemon":
        return {}
    count = 5_000
    program = tunnels.examples() / "handshakes"
    keys = RUN / "handshakes.conf"
    if not keys.exists():
        peers = [base64.b64encode(bytes.fromhex(key)).decode() for key in run(program, "keys", count).split()]
        keys.write_text("".join(f"[Peer]\nPublicKey = {peer}\n" for peer in peers))
    fresh = tunnels.Tunnel(tunnel.world, tunnel.implementation, FRESH, start=False)
    try:
        fresh.start()
        fresh.configure()
        fresh.up()
        run("wg", "addconf", fresh.names[1], keys)
        responder = base64.b64decode(fresh.publics[1]).hex()
        out = tunnel.world.command(1, program, "flood", count, responder, f"10.0.0.2:{fresh.ports[1]}")
        answered, cookies, seconds = out.split()
        if int(answered) == 0 or float(seconds) == 0:
            raise BenchError(f"{answered} answers and {cookies} cookies to {count} initiations")
        return {"handshakes": int(answered) / float(seconds), "cookies": int(cookies)}
    finally:
        fresh.stop()


def active100(tunnel, seconds):
    """TCP from the device under test to 100 peers at once. The peers are all ours, so that they are the same for all."""
    if tunnel.implementation.kind != "daemon":
        return {}
    count, world = 100, tunnel.world
    hub = tunnels.Tunnel(world, tunnel.implementation, FRESH, start=False)
    hub.addresses = ["10.78.255.1", "10.78.255.2"]
    peers = tunnels.Crowd(world, count, "10.0.0.1", hub.ports[0])
    sink = None
    try:
        hub.start()
        hub.configure()
        hub.up()
        peers.start(hub.publics[0], hub.addresses[0])
        file = RUN / "crowd.conf"
        file.write_text("".join(f"[Peer]\nPublicKey = {public}\nAllowedIPs = {address}/32\nEndpoint = 10.0.0.2:{port}\n"
                                for public, address, port in peers.members()))
        run("wg", "addconf", hub.names[0], file)
        run("ip", "-n", "e1", "route", "add", "10.79.0.0/16", "dev", hub.names[0], "mtu", tunnels.MTU)
        here = pathlib.Path(__file__).resolve().parent / "crowd.py"
        sink = world.start(2, [sys.executable, here, "sink"], "sink.log")
        within(5, "the sink listens", lambda: "5300" in world.command(2, "ss", "-Hltn", "sport = :5300"))
        addresses = [address for _, address, _ in peers.members()]
        out = world.command(1, sys.executable, here, "send", seconds, *addresses)
        connected, received, taken = out.split()
        if int(connected) < count:
            raise BenchError(f"{connected} of {count} peers could be reached")
        return {"active100": int(received) * 8 / float(taken) / 1e9}
    finally:
        if sink:
            world.end(sink)
        peers.stop()
        hub.stop()


FRESH = 99

FIGURES = {
    "first": first,
    "tcp1": tcp(1),
    "tcp4": tcp(4),
    "tcp16": tcp(16),
    "bidir": bidir,
    "udp64": udp(64),
    "udp1392": udp(1392),
    "ping": ping,
    "pingload": pingload,
    "rss": rss,
    "peers1": peers(1),
    "peers1000": peers(1_000),
    "peers10000": peers(10_000),
    "peers100000": peers(100_000),
    "active100": active100,
    "handshakes": handshakes,
}
# Not worth repeating in every round: the noise is small against the differences.
ONCE = {"peers1", "peers1000", "peers10000", "peers100000", "active100", "handshakes"}
