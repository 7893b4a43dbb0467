"""The table of a soak, and its place in a Markdown file."""

import datetime
import os

BEGIN, END = "<!-- soak -->", "<!-- /soak -->"


def growth(points):
    """By how much the least-squares line through the second half of (time, value) rises over that half."""
    points = points[len(points) // 2:]
    count = len(points)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return slope * (points[-1][0] - points[0][0])


def table(soak, growths, left, seconds_to_end):
    """The results in Markdown."""
    minutes = soak.samples[-1][0] / 60
    rates = sorted(sample[1] for sample in soak.samples)
    delays = sorted(soak.delays) or [0.0]
    trouble = soak.trouble
    ms = lambda seconds: f"{1e3 * seconds:.0f} ms"  # noqa: E731
    quantile = lambda values, q: values[min(len(values) - 1, int(q * len(values)))]  # noqa: E731
    lost = sum(losses.lost for losses in soak.losses)
    received = sum(losses.received for losses in soak.losses)
    rows = [
        ("time", "", f"{minutes:.1f} minutes, {os.cpu_count()} cores"),
        ("moved", "", f"{sum(rates) / len(rates) / 8e3 * soak.samples[-1][0]:.0f} GB, "
                      f"{sum(rates) / len(rates) / 1e3:.2f} Gbit/s on average"),
        ("keypairs made", "", f"{len(soak.rekeys)}, at both ends together"),
        ("datagrams every 10 ms", "", f"{received} came, {lost} were lost, all trouble included"),
        ("their delay under full load", "", f"median {1e3 * quantile(delays, 0.5):.1f} ms, "
                                            f"99 % {1e3 * quantile(delays, 0.99):.1f} ms"),
        ("longest loss within 1 s of a rekey", "200 ms", ms(max(soak.near_rekey, default=0))),
        ("longest loss at any other calm moment", "200 ms", ms(max(soak.quiet, default=0))),
    ]
    for kind, count in sorted(trouble.counts.items()):
        rows.append((f"longest loss after: {kind}, {count} times", "2 s", ms(max(soak.recoveries.get(kind, [0])))))
    rows.append(("configuration requests meanwhile", "", str(trouble.requests)))
    for n in (0, 1):
        rss = [sample[3 + n] for sample in soak.samples]
        rows.append((f"RSS of end {n + 1}: first, greatest, last; line's rise in the second half", "2 MiB",
                     f"{rss[0]:.1f}, {max(rss):.1f}, {rss[-1]:.1f} MiB; {growths[n]:+.2f} MiB"))
    if soak.objects:
        for n in (0, 1):
            most = {what: max(found[n][what] for found in soak.objects) for what in soak.objects[0][n]}
            rows.append((f"most objects of end {n + 1} at a minute's end", "1 peer, 3 keypairs",
                         ", ".join(f"{count} {what}" for what, count in most.items())))
    rows.append(("left after TERM; longest time to end", "0; 2 s", "; ".join(
        [f"{sum(objects[what] for what in ('handshakes', 'keypairs', 'staged packets', 'queued messages'))}"
         if objects else "unknown" for objects in left] + [f"{seconds_to_end:.2f} s"])))
    rows.append(("failures", "0", str(len(soak.failures))))
    lines = [f"Of {datetime.date.today().isoformat()}.", "", "| what | bound | found |", "|---|---|---|"]
    lines += [f"| {what} | {bound} | {found} |" for what, bound, found in rows]
    return "\n".join(lines)


def write(path, text):
    """Replaces what is between the marks; adds them to a file that has none."""
    before = path.read_text() if path.exists() else "# Reliability\n"
    if BEGIN not in before:
        before += f"\n## Soak\n\n`make soak MINUTES=60`, see `tests/soak/soak.py`.\n\n{BEGIN}\n{END}\n"
    head, rest = before.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
