"""What the records of a probe say: which runs of datagrams were lost, and how long the others took.

Not here: why (see `soak.py`, which knows what was done to the tunnel when).
"""

from probe import RECORD

INTERVAL = 0.01
# Records of numbers this much below the greatest are all in: nothing is reordered by more than a second.
SETTLED = 100


class Losses:
    """One direction, read as its file grows."""

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.waiting = {}
        self.next, self.last_sent = None, None
        self.received, self.lost = 0, 0
        self.delays = []

    def read(self, final=False):
        """Takes in what is new; returns the runs of lost datagrams as (when it began, when it ended, how many), in
        seconds of CLOCK_MONOTONIC."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
            data = data[:len(data) - len(data) % RECORD.size]
            self.offset += len(data)
            for number, sent, received in RECORD.iter_unpack(data):
                self.waiting[number] = sent / 1e9
                self.delays.append((received - sent) / 1e9)
                self.received += 1
        runs = []
        settled = max(self.waiting, default=0) - (0 if final else SETTLED)
        for number in sorted(number for number in self.waiting if number <= settled):
            sent = self.waiting.pop(number)
            if self.next is not None and number > self.next:
                count = number - self.next
                self.lost += count
                # From the first that was lost to the first that came again.
                runs.append((min(self.last_sent + INTERVAL, sent), sent, count))
            if self.next is None or number >= self.next:
                self.next, self.last_sent = number + 1, sent
        return runs

    def take_delays(self):
        """Returns how many seconds each datagram took since the last call."""
        delays, self.delays = self.delays, []
        return delays
