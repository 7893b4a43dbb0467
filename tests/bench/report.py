"""The results as a table, as Markdown, and as a chart."""

import statistics

from figures import METRICS

BEGIN, END = "<!-- the table begins: written by `make bench` -->", "<!-- the table ends -->"
CHART = ["tcp1", "cpu", "udp64", "udp1392", "ping", "pingload_p99"]


def cells(results):
    """Yields (metric, {implementation: (median, least, most)}) for each metric that anybody has."""
    for key, metric in METRICS.items():
        row = {}
        for name, values in results["values"].items():
            if key in values:
                row[name] = (statistics.median(values[key]), min(values[key]), max(values[key]))
        if row:
            yield metric, row


def shown(metric, cell, ours):
    """`median (least-most) ratio`: the ratio is to rvpn's median."""
    median, least, most = (f"{number:,.{metric.digits}f}" for number in cell)
    spread = "" if least == most else f" ({least}–{most})"
    ratio = f" ×{cell[0] / ours[0]:.2f}" if ours and ours is not cell and ours[0] else ""
    return f"{median}{spread}{ratio}"


def rows(results):
    names = list(results["labels"])
    yield ["figure", *[results["labels"][name] for name in names]]
    for metric, row in cells(results):
        ours = row.get("rvpn")
        yield [f"{metric.label}, {metric.unit}", *[shown(metric, row[name], ours) if name in row else "–" for name in names]]


def table(results):
    """For a terminal."""
    listed = list(rows(results))
    widths = [max(len(row[n]) for row in listed) for n in range(len(listed[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in listed]
    return "\n".join([caption(results), ""] + lines + [""] + [f"not measured: {failure}" for failure in results["failures"]])


def caption(results):
    machine = results["machine"]
    return (f"{results['date'][:10]}: {machine['cores']} cores, {machine['cpu']}, Linux {machine['kernel']}, load "
            f"{machine['load_before']:.1f} before the run. Medians of {results['rounds']} rounds of {results['seconds']:g} s (least–most), × is the ratio to rvpn.")


def markdown(results):
    listed = list(rows(results))
    lines = ["| " + " | ".join(row) + " |" for row in listed]
    lines.insert(1, "|" + "---|" * len(listed[0]))
    # Of what a program said, the first line.
    left_out = [f"Not measured: {one.splitlines()[0]}." for one in [*results["missing"], *results["failures"]]]
    return "\n".join([caption(results), "", *lines, "", *left_out]).rstrip()


def write_docs(results, docs):
    page = docs / "performance.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}")
    (docs / "performance.svg").write_text(chart(results))


def chart(results):
    """Horizontal bars, one block per figure. Reads on light and on dark ground."""
    bar, gap, left, width, right = 16, 4, 190, 420, 110
    blocks, y = [], 30
    found = {metric.label: (metric, row) for metric, row in cells(results)}
    for key in CHART:
        metric, row = found.get(METRICS[key].label, (None, {}))
        if not row:
            continue
        blocks.append(f'<text class="title" x="8" y="{y}">{metric.label}, {metric.unit} ({metric.better} is better)</text>')
        y += 10
        most = max(cell[0] for cell in row.values()) or 1
        for name, label in results["labels"].items():
            if name not in row:
                continue
            value = row[name][0]
            kind = "ours" if name == "rvpn" else "ceiling" if name in ("null", "null-aead", "bare") else "peer"
            blocks.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{label}</text>')
            blocks.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{max(1, width * value / most):.1f}" height="{bar}"/>')
            number = f"{value:,.{metric.digits}f}"
            blocks.append(f'<text x="{left + width * value / most + 6:.1f}" y="{y + 12}">{number}</text>')
            y += bar + gap
        y += 30
    style = ("text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.ours{fill:#1a7f5a}.peer{fill:#8a93a0}"
             ".ceiling{fill:#d5d9de}@media(prefers-color-scheme:dark){text{fill:#ddd}.ceiling{fill:#4a4f57}}")
    total = left + width + right
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{y}" viewBox="0 0 {total} {y}" role="img" '
            f'aria-label="rvpn beside its peers">\n<style>{style}</style>\n' + "\n".join(blocks) + "\n</svg>\n")
