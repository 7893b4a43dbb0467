#!/usr/bin/env python3
"""Draws what a program shows in a terminal: terminal.py 80x24 SECONDS FILE.svg PROGRAM ARGUMENT...

Runs the program in a pseudo-terminal of that size for so long, then draws the screen as SVG and presses `q`. The program must
have ended then, and must have left the terminal as it was: that is checked, too.
"""

import fcntl
import html
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pyte

CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.43, 18, 10
BACKGROUND, FOREGROUND = "#14161b", "#d8dae0"
COLOURS = {
    "default": FOREGROUND, "black": "#30343d", "brightblack": "#7c8291", "red": "#f07178", "green": "#8bd49c",
    "brown": "#ebcb8b", "blue": "#6ea8fe", "magenta": "#c792ea", "cyan": "#70d6d6", "white": "#d8dae0",
}


def main():
    size, seconds, path, *program = sys.argv[1:]
    columns, rows = map(int, size.split("x"))
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(program, stdin=theirs, stdout=theirs, start_new_session=True)
    follow(ours, stream, seconds=float(seconds))
    with open(path, "w", encoding="utf-8") as file:
        file.write(drawn(screen, columns, rows))
    os.write(ours, b"q")
    last = follow(ours, stream, child=child)
    if child.wait(5) != 0:
        sys.exit(f"{program[0]} ended with {child.returncode}")
    if termios.tcgetattr(theirs) != before or b"\x1b[?1049l" not in last:
        sys.exit("the terminal is not as it was")


def follow(terminal, stream, seconds=5.0, child=None):
    """Feeds what is written until the time is over or the child has ended; returns it."""
    end = time.monotonic() + seconds
    seen = b""
    while (left := end - time.monotonic()) > 0:
        has_ended = child is not None and child.poll() is not None
        readable, _, _ = select.select([terminal], [], [], 0 if has_ended else min(left, 0.1))
        if readable:
            piece = os.read(terminal, 65536)
            seen += piece
            stream.feed(piece)
        elif has_ended:
            break
    return seen


def drawn(screen, columns, rows):
    width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">',
        f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>',
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14" '
        'xml:space="preserve">',
    ]
    for row in range(rows):
        for first, cells in runs(screen.buffer[row], columns):
            parts += drawn_run(row, first, cells)
    return "\n".join(parts + ["</g>", "</svg>", ""])


def runs(line, columns):
    """Cells of one style beside each other: (column of the first, cells)."""
    start = 0
    for column in range(1, columns + 1):
        if column == columns or style(line[column]) != style(line[start]):
            yield start, [line[at] for at in range(start, column)]
            start = column


def style(cell):
    return cell.fg, cell.bg, cell.bold, cell.reverse, cell.underscore, cell.data in BLOCKS


def drawn_run(row, first, cells):
    cell = cells[0]
    ink, paper = colour(cell.fg, FOREGROUND), colour(cell.bg, BACKGROUND)
    if cell.reverse:
        ink, paper = (BACKGROUND, FOREGROUND) if cell.fg == "default" else (BACKGROUND, ink)
    x, y, width = MARGIN + first * CELL_WIDTH, MARGIN + row * CELL_HEIGHT, len(cells) * CELL_WIDTH
    if paper != BACKGROUND:
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.2f}" height="{CELL_HEIGHT}" fill="{paper}"/>'
    if cell.underscore:
        yield f'<rect x="{x:.1f}" y="{y + CELL_HEIGHT - 1}" width="{width:.2f}" height="1" fill="{COLOURS["brightblack"]}"/>'
    if cell.data in BLOCKS:
        # Drawn, because no font fills its cell exactly.
        for at, block in enumerate(cells):
            # Full ones a little longer than they are, so that no seam shows between two.
            high = BLOCKS[block.data] * CELL_HEIGHT / 8
            more = 0.6 if BLOCKS[block.data] == 8 else 0
            yield (f'<rect x="{x + at * CELL_WIDTH:.2f}" y="{y + CELL_HEIGHT - high:.2f}" width="{CELL_WIDTH - 0.6:.2f}" '
                   f'height="{high + more:.2f}" fill="{ink}"/>')
        return
    text = "".join(cell.data for cell in cells)
    if text.strip():
        weight = ' font-weight="bold"' if cell.bold else ""
        yield (f'<text x="{x:.1f}" y="{y + 13.5}" fill="{ink}"{weight} textLength="{width:.2f}" '
               f'lengthAdjust="spacing">{html.escape(text)}</text>')


def colour(name, default):
    if name == "default":
        return default
    # The first sixteen of 256 are those that a theme has.
    return COLOURS.get(name) or COLOURS.get(INDEXED.get(name)) or f"#{name}"


INDEXED = {
    "000000": "black", "cd0000": "red", "00cd00": "green", "cdcd00": "brown", "0000ee": "blue", "cd00cd": "magenta",
    "00cdcd": "cyan", "e5e5e5": "white", "7f7f7f": "brightblack",
}


BLOCKS = {block: eighths for eighths, block in enumerate("▁▂▃▄▅▆▇█", 1)}

main()
