#!/usr/bin/env python3
"""`losses.py` against records written by hand."""

import pathlib
import tempfile
import unittest

from losses import Losses
from probe import RECORD


def write(path, numbers):
    with open(path, "ab") as file:
        for number in numbers:
            file.write(RECORD.pack(number, number * 10_000_000, number * 10_000_000 + 1_000_000))


class LossesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name) / "records"

    def test_a_run_of_lost_datagrams_is_found_once(self):
        losses = Losses(self.path)
        write(self.path, [*range(50), *range(75, 300)])
        (begin, end, count), = losses.read()
        self.assertEqual((round(begin, 3), round(end, 3), count), (0.5, 0.75, 25))
        self.assertEqual(losses.read(final=True), [])
        self.assertEqual((losses.received, losses.lost), (275, 25))

    def test_reordered_datagrams_are_not_lost(self):
        losses = Losses(self.path)
        write(self.path, [0, 1, 3, 2, 4])
        self.assertEqual(losses.read(), [])
        write(self.path, [*range(6, 150), 5])
        self.assertEqual(losses.read(), [])
        self.assertEqual(losses.read(final=True), [])

    def test_what_is_half_written_waits(self):
        losses = Losses(self.path)
        write(self.path, [0, 1])
        with open(self.path, "ab") as file:
            file.write(RECORD.pack(2, 20_000_000, 1)[:10])
        losses.read()
        self.assertEqual(losses.received, 2)
        with open(self.path, "ab") as file:
            file.write(RECORD.pack(2, 20_000_000, 1)[10:])
        losses.read(final=True)
        self.assertEqual((losses.received, losses.lost), (3, 0))


if __name__ == "__main__":
    unittest.main()
