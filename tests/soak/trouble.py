"""What happens to a tunnel in the course of a minute, and when it did.

    second   5  roam: address of an end, port of an end, family of the path, in turns
            20  flap: an interface goes down and up five times, one end and the other in turns
            35  pull: the cable is out for 0.3 s, 1 s or 3 s in turns
     0 to  55   churn: other peers come, change and go; the peer itself is set to what it is

Not here: what it did to the traffic (see `soak.py`).
"""

import random
import threading
import time

from tunnels import RUN, random_key, run

ROAM, FLAP, PULL, CALM = 5, 20, 35, 55
MOST_PEERS = 200


class Trouble:
    """The maker of trouble, and its memory."""

    def __init__(self, world, tunnel):
        self.world, self.tunnel = world, tunnel
        # (kind, when it began, when it ended); the last may be under way, with no end yet.
        self.events = []
        self.counts, self.requests = {}, 0
        self.outer = ["10.0.0.1", "10.0.0.2"]
        self.threads, self.stopping = [], threading.Event()
        self.error = None

    def start(self, minute):
        """Makes the trouble of a minute, in threads."""
        self.stopping.clear()
        began = time.monotonic()
        for work in (self.moves, self.churn):
            thread = threading.Thread(target=self.guarded, args=(work, minute, began), daemon=True)
            thread.start()
            self.threads.append(thread)

    def finish(self):
        """Ends the trouble; all that remains is the peer."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.threads = []
        for n in (0, 1):
            self.remove_others(n)
        if self.error:
            raise self.error

    def guarded(self, work, minute, began):
        try:
            work(minute, began)
        except Exception as error:  # Told by whoever waits for the thread.
            self.error = error

    def reason(self, begin, until, settling):
        """Returns (kind, when it ended) of the trouble that a loss from `begin` to `until` is due to, if any."""
        suspects = [(kind, started, ended or time.monotonic()) for kind, started, ended in self.events]
        # The last that was made before it began; else one that was made within it.
        for kind, started, ended in reversed(suspects):
            if started <= begin <= ended + settling:
                return kind, ended
        for kind, started, ended in suspects:
            if begin <= started <= until:
                return kind, ended
        return None

    # The three kinds.

    def moves(self, minute, began):
        steps = [(ROAM, self.roams()[minute % 4]), (FLAP, ("flap", lambda: self.flap(minute % 2))),
                 (PULL, ("pulled cable", lambda: self.pull((0.3, 1, 3)[minute % 3])))]
        for second, (kind, action) in steps:
            if self.stopping.wait(max(0, began + second - time.monotonic())):
                return
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.events.append((kind, time.monotonic(), None))
            started = self.events[-1][1]
            action()
            self.events[-1] = (kind, started, time.monotonic())

    def roams(self):
        return [("roaming", lambda: self.readdress(0)), ("roaming", self.change_port),
                ("roaming", lambda: self.readdress(1)), ("roaming", self.change_family)]

    def readdress(self, n):
        """End `n` gets another address; the other is to notice by itself."""
        old, number = self.outer[n], int(self.outer[n].split(".")[3])
        new = f"10.0.0.{number + 10 if number < 90 else 1 + n}"
        device = f"veth{n + 1}"
        # In this order: with the first address of a network the kernel takes the others away.
        run("ip", "-n", f"e{n + 1}", "-batch", "-",
            input=f"addr del {old}/16 dev {device}\naddr add {new}/16 dev {device}\n")
        self.outer[n] = new

    def change_port(self):
        self.tunnel.ports[0] = 20_011 + (self.tunnel.ports[0] - 20_010) % 50
        run("wg", "set", self.tunnel.names[0], "listen-port", self.tunnel.ports[0])

    def change_family(self):
        """The first end talks over IPv6; the other follows it there, and back."""
        for address in (f"[fd00:aa::2]:{self.tunnel.ports[1]}", f"{self.outer[1]}:{self.tunnel.ports[1]}"):
            run("wg", "set", self.tunnel.names[0], "peer", self.tunnel.publics[1], "endpoint", address)
            time.sleep(0.5)

    def flap(self, n):
        for _ in range(5):
            for state in ("down", "up"):
                run("ip", "-n", f"e{n + 1}", "link", "set", self.tunnel.names[n], state)
                time.sleep(0.05)

    def pull(self, seconds):
        run("ip", "-n", "e1", "link", "set", "veth1", "down")
        time.sleep(seconds)
        run("ip", "-n", "e1", "link", "set", "veth1", "up")

    # Configuration.

    def churn(self, minute, began):
        chance = random.Random(minute)
        others = [[], []]
        while not self.stopping.wait(0.02) and time.monotonic() < began + CALM:
            n = chance.randrange(2)
            chance.choice([self.add, self.remove, self.change, self.look, self.same])(n, others[n], chance)
            self.requests += 1

    def add(self, n, others, chance):
        """Some go nowhere, some have an endpoint where nobody is, and knock there."""
        lines = []
        for _ in range(min(chance.randrange(1, 20), MOST_PEERS - len(others))):
            key = random_key()
            others.append(key)
            lines += ["[Peer]", f"PublicKey = {key}", f"AllowedIPs = {self.prefix(n, chance)}"]
            if chance.random() < 0.3:
                lines += [f"Endpoint = 10.0.9.{chance.randrange(1, 255)}:9", "PersistentKeepalive = 1"]
        self.configure("addconf", n, lines)

    def remove(self, n, others, chance):
        chance.shuffle(others)
        gone = [others.pop() for _ in range(chance.randrange(len(others) + 1))]
        if gone:
            run("wg", "set", self.tunnel.names[n], *[word for key in gone for word in ("peer", key, "remove")])

    def change(self, n, others, chance):
        """Prefixes move from peer to peer, preshared keys and keepalives come and go."""
        if others:
            secret = RUN / "preshared"
            secret.write_text(random_key())
            run("wg", "set", self.tunnel.names[n], "peer", chance.choice(others), "allowed-ips", self.prefix(n, chance),
                "preshared-key", secret, "persistent-keepalive", chance.choice([0, 1, 25]))

    def look(self, n, others, _chance):
        shown = run("wg", "show", self.tunnel.names[n], "peers").split()
        assert sorted(shown) == sorted([*others, self.tunnel.publics[1 - n]]), "the peers shown are those that were set"

    def same(self, n, _others, chance):
        """What must change nothing: the whole configuration again, or the peer's keepalive."""
        if chance.random() < 0.5:
            conf = run("wg", "showconf", self.tunnel.names[n])
            self.configure("syncconf", n, conf.splitlines())
        else:
            run("wg", "set", self.tunnel.names[n], "peer", self.tunnel.publics[1 - n],
                "persistent-keepalive", chance.choice([0, 5, 25]))

    def remove_others(self, n):
        peer = self.tunnel.publics[1 - n]
        gone = [key for key in run("wg", "show", self.tunnel.names[n], "peers").split() if key != peer]
        if gone:
            run("wg", "set", self.tunnel.names[n], *[word for key in gone for word in ("peer", key, "remove")])

    def prefix(self, n, chance):
        return f"10.20{n}.{chance.randrange(8)}.{chance.randrange(256)}/32"

    def configure(self, command, n, lines):
        file = RUN / "change.conf"
        file.write_text("\n".join(lines) + "\n")
        run("wg", command, self.tunnel.names[n], file)
