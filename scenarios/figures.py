#!/usr/bin/env python3
"""Runs the shipped scenarios and writes their figures into the READMEs.

    cargo build --release -p eks-sim-cli
    python3 scenarios/figures.py target/release/eks-sim

Between `<!-- figures -->` and `<!-- /figures -->` each README gets a table (mean and 95 % interval of the
base and every variant) and the plot that answers its question, copied from the output as it is.
"""
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Scenario: variants, rows of the table (column of the summary, words), plot.
SHIPPED = {
    "webshop": ([], [
        ("served_ratio", "requests served"), ("latency_seconds_p95", "latency, 95th percentile"),
        ("pod_startup_seconds_p50", "a pod's start, median"),
        ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
        ("replicas_mean", "pods of the shop, mean"), ("replicas_max", "pods of the shop, most"),
        ("nodes_mean", "nodes, mean"), ("nodes_max", "nodes, most"),
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("cpu_used_ratio", "CPU used of allocatable"),
        ("ip_free_min", "fewest free addresses of a subnet"), ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "zone-outage": (["prepared", "headroom-only"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("recovery_seconds_max", "until served again"), ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
        ("api_availability", "API server available"), ("nodes_mean", "nodes, mean"),
        ("cost_usd_per_month", "cost a month"),
    ], "traffic"),
    "etcd-quorum": (["headroom", "five-members"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("recovery_seconds_max", "from the loss until served again"), ("api_availability", "API server available for writes"),
        ("jobs_succeeded", "Jobs done (24 are due in four hours)"), ("cost_usd_per_month", "cost a month"),
    ], "workloads"),
    "ip-exhaustion": (["warm-ip-target", "prefix-delegation", "custom-networking", "ipv6", "bigger-subnets"], [
        ("ip_first_exhaustion_seconds", "first refusal of a subnet after"),
        ("ip_exhaustion_seconds", "time in which a subnet refused addresses"),
        ("pods_address_refused", "pods refused an address"),
        ("pod_address_wait_seconds_mean", "their wait, mean"),
        ("ip_unused_mean", "addresses nodes hold unused, mean"),
        ("ip_free_min", "fewest free addresses of a subnet"),
        ("replicas_max", "pods Ready, most"), ("served_ratio", "requests served"),
    ], "address-uses"),
    "rollout": (["blue-green", "canary", "impatient"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("latency_seconds_p95", "latency, 95th percentile"), ("pods_created", "pods made"),
        ("nodes_max", "nodes, most"), ("cost_usd", "cost of the two hours"),
    ], "traffic"),
    "flash-crowd": (["no-retries", "budget", "higher-limits", "overprovisioned", "scheduled", "forecast", "forecast-late", "forecast-low"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("latency_seconds_p50", "latency, median"), ("latency_seconds_p99", "latency, 99th percentile"),
        ("replicas_mean", "pods, mean"), ("replicas_max", "pods, most"), ("nodes_max", "nodes, most"),
        ("cost_usd", "cost of the four hours"),
    ], "traffic"),
    "vpa-rightsizing": (["initial", "recreate", "in-place", "cpu-only", "cautious"], [
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("cpu_used_ratio", "CPU used of allocatable"),
        ("memory_requested_ratio", "memory requested of allocatable"),
        ("nodes_mean", "nodes, mean"), ("oom_kills", "containers killed at their limit"), ("pod_evictions", "pods evicted"),
        ("served_ratio", "requests served"), ("latency_seconds_p99", "latency, 99th percentile"),
        ("cost_usd_per_month", "cost a month"),
    ], "capacity"),
    "prefix-fragmentation": (["secondary-addresses", "reservation", "fresh-subnets"], [
        ("ip_exhaustion_seconds", "time in which a subnet refused addresses"),
        ("pods_address_refused", "pods refused an address"), ("pod_address_wait_seconds_mean", "their wait, mean"),
        ("pods_ready", "pods that became Ready"), ("ip_unused_mean", "addresses nodes hold unused, mean"),
        ("ip_free_min", "fewest free addresses of a subnet"),
    ], "address-uses"),
    "textbook-vpc": (["custom-networking", "subnet-discovery", "warm-ip-target"], [
        ("ip_first_exhaustion_seconds", "first refusal of a subnet after"),
        ("ip_exhaustion_seconds", "time in which a subnet refused addresses"),
        ("pods_address_refused", "pods refused an address"), ("launches_without_address", "launches refused an address"),
        ("ip_unused_mean", "addresses nodes hold unused, mean"), ("ip_free_min", "fewest free addresses of a subnet"),
        ("replicas_max", "pods Ready, most"), ("nodes_max", "nodes, most"), ("served_ratio", "requests served"),
        ("cost_usd_per_month", "cost a month"),
    ], "address-uses"),
    "karpenter-vs-cluster-autoscaler": (["karpenter", "karpenter-one-type", "karpenter-spot"], [
        ("served_ratio", "requests served"), ("latency_seconds_p99", "latency, 99th percentile"),
        ("pod_startup_seconds_p50", "a pod's start, median"), ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
        ("pod_pending_seconds_p99", "pending, 99th percentile"),
        ("nodes_mean", "nodes, mean"), ("instances_launched", "instances launched"), ("pod_evictions", "pods evicted"),
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("memory_requested_ratio", "memory requested of allocatable"),
        ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "karpenter-consolidation": (["when-empty", "balanced", "patient", "never"], [
        ("nodes_mean", "nodes, mean"), ("instances_launched", "instances launched"), ("pod_evictions", "pods evicted"),
        ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "consolidation-churn": (["default", "patient", "balanced", "when-empty", "night"], [
        ("instances_launched", "instances launched"), ("pod_evictions", "pods evicted"),
        ("served_ratio", "requests served"), ("latency_seconds_p99", "latency, 99th percentile"),
        ("pod_startup_seconds_p99", "a pod's start, 99th percentile"), ("nodes_mean", "nodes, mean"),
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "capacity-stockout": (["fallback", "many-types", "many-types-fallback"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("pod_startup_seconds_p99", "a pod's start, 99th percentile"), ("pods_unscheduled", "pods without a node at the end"),
        ("launch_failures", "launches refused"), ("pod_evictions", "pods evicted"), ("nodes_mean", "nodes, mean"),
        ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "batch-night": (["spot", "always-on"], [
        ("jobs_succeeded", "Jobs done"), ("job_seconds_mean", "a Job, mean"), ("job_seconds_max", "the longest Job"),
        ("pod_startup_seconds_p95", "a pod's start, 95th percentile"), ("nodes_max", "nodes, most"),
        ("node_hours", "node hours"), ("cost_usd_per_month", "cost a month"),
    ], "nodes"),
    "spot-reclaim": (["no-drain", "termination-handler", "half-on-demand", "on-demand"], [
        ("served_ratio", "requests served"), ("requests_lost", "requests lost"),
        ("recovery_seconds_max", "until served again"), ("spot_interruptions", "spot notices"),
        ("pod_evictions", "pods evicted"), ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
        ("nodes_mean", "nodes, mean"), ("cost_usd_per_month", "cost a month"),
    ], "traffic"),
    "overprovisioning": ([f"headroom-{n}" for n in (1, 2, 4, 6, 8)], [
        ("pod_startup_seconds_p50", "a worker's start, median"), ("pod_startup_seconds_p95", "95th percentile"),
        ("pod_startup_seconds_p99", "99th percentile"), ("pod_preemptions", "pause pods preempted"),
        ("nodes_mean", "nodes, mean"), ("nodes_max", "nodes, most"), ("cost_usd_per_month", "cost a month"),
    ], {
        "file": "curve", "x": "cost_usd_per_month", "y": "pod_startup_seconds_p99",
        "title": "Price of headroom", "xlabel": "cost a month in USD", "ylabel": "a worker's start, 99th percentile, in s",
        "lines": [("pause pods", [("base", "none")] + [(f"headroom-{n}", str(n)) for n in (1, 2, 4, 6, 8)])],
    }),
    "fargate-or-nodes": (["nodes-8"] + [f"{w}-{n}" for n in (1, 2, 4, 16, 32, 64) for w in ("fargate", "nodes")], [
        ("nodes_mean", "nodes or micro-VMs, mean"),
        ("cpu_requested_ratio", "CPU requested of allocatable"), ("cost_usd_per_month", "cost a month"),
    ], {
        "file": "break-even", "y": "cost_usd_per_month",
        "title": "Fargate or nodes", "xlabel": "pods of 300m CPU and 512Mi", "ylabel": "cost a month in USD",
        "lines": [
            ("Fargate", [("base" if n == 8 else f"fargate-{n}", n) for n in (1, 2, 4, 8, 16, 32, 64)]),
            ("nodes", [(f"nodes-{n}", n) for n in (1, 2, 4, 8, 16, 32, 64)]),
        ],
    }),
    "node-group-update": (["five", "quarter", "minimal", "strict", "strict-forced"], [
        ("node_group_update_seconds_max", "the update"), ("node_group_update_failures", "updates given up"),
        ("nodes_max", "Ready nodes, most"), ("instances_launched", "instances launched"),
        ("pod_evictions", "pods evicted"), ("pod_startup_seconds_p99", "a pod's start, 99th percentile"),
    ], "nodes"),
}


def number(value, spread, most):
    """As many digits as the spread leaves sense in."""
    if spread and spread > 0:
        digits = max(0, min(most, 1 - int(f"{spread:e}".split("e")[1])))
    else:
        digits = 0 if float(value).is_integer() else 2
    return f"{value:,.{digits}f}"


def shown(estimate, unit):
    if estimate is None:
        return "–"
    mean, half = estimate["mean"], estimate.get("half_width") or 0.0
    scale, before, after = 1.0, "", ""
    if unit == "share":
        scale, after = 100.0, " %"
    elif unit == "USD":
        before = "$"
    elif unit == "s":
        units = ((7200, 1 / 3600, " h"), (300, 1 / 60, " min"), (1, 1.0, " s"), (0, 1000.0, " ms"))
        scale, after = next((s, a) for least, s, a in units if abs(mean) >= least)
        if mean == 0:
            after = " s"
    elif unit == "h":
        after = " h"
    if mean and half / abs(mean) < 1e-6:
        half = 0.0
    # Shares close to one need their digits, other values do not.
    most = 6 if unit == "share" else 2
    if half and number(half * scale, half * scale, most).strip("0.") == "":
        half = 0.0
    text = before + number(mean * scale, half * scale, most)
    return text + (f" ± {before}{number(half * scale, half * scale, most)}" if half else "") + after


def run(binary, name, variant, out):
    command = [binary, "run", str(HERE / name / "scenario.yaml"), "--quiet", "--out", str(out), "--force"]
    if variant:
        command += ["--variant", variant]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 1, 4):
        sys.exit(f"{name} {variant or ''}: exit code {code}")
    return json.loads((out / "summary.json").read_text())


def table(summaries, rows):
    names = [name for name, _ in summaries]
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    verdicts = {"met": "met", "missed": "missed", "undecided": "undecided", "Met": "met", "Missed": "missed"}
    if any(s["objectives"] for _, s in summaries):
        cells = []
        for _, s in summaries:
            counts = [verdicts.get(o["verdict"], o["verdict"]) for o in s["objectives"]]
            cells.append("all met" if set(counts) == {"met"} else ", ".join(f"{counts.count(v)} {v}" for v in sorted(set(counts))))
        lines.append("| objectives | " + " | ".join(cells) + " |")
    for column, words in rows:
        cells = []
        for _, s in summaries:
            metric = next(m for m in s["metrics"] if m["name"] == column)
            cells.append(shown(metric["estimate"], metric["unit"]))
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    first = summaries[0][1]
    return "\n".join(lines) + f"\n\nMean and 95 % interval over {first['replications']} replications, seed {first['seed']}.\n"


def values(summaries, column):
    found = {}
    for name, s in summaries:
        metric = next(m for m in s["metrics"] if m["name"] == column)
        found[name] = metric["estimate"]["mean"]
    return found


def ticks(low, high):
    """About five round numbers from low to high."""
    raw = (high - low) / 5 or 1
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw)
    first = math.ceil(low / step) * step
    return [first + i * step for i in range(int((high - first) / step) + 1)]


def curve(summaries, spec):
    """A plot of one column against another, or against a number in the variants' names."""
    ys = values(summaries, spec["y"])
    xs = values(summaries, spec["x"]) if "x" in spec else None
    lines = [(name, [(xs[v] if xs else mark, ys[v], str(mark)) for v, mark in points]) for name, points in spec["lines"]]
    flat = [p for _, points in lines for p in points]
    x0, x1 = min(p[0] for p in flat), max(p[0] for p in flat)
    x0, x1 = (x0 - 0.05 * (x1 - x0), x1 + 0.08 * (x1 - x0)) if xs else (0, x1 * 1.05)
    y0, y1 = 0, max(p[1] for p in flat) * 1.1
    width, height, left, right, top, bottom = 720, 400, 70, 20, 40, 55
    px = lambda x: left + (x - x0) / (x1 - x0) * (width - left - right)
    py = lambda y: height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)
    colours = ("#1f77b4", "#d62728", "#2ca02c")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="15">{spec["title"]}</text>',
    ]
    for t in ticks(x0, x1):
        out.append(f'<line x1="{px(t):.1f}" y1="{top}" x2="{px(t):.1f}" y2="{height - bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{px(t):.1f}" y="{height - bottom + 18}" text-anchor="middle">{t:,.10g}</text>')
    for t in ticks(y0, y1):
        out.append(f'<line x1="{left}" y1="{py(t):.1f}" x2="{width - right}" y2="{py(t):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{py(t) + 4:.1f}" text-anchor="end">{t:,.10g}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{spec["xlabel"]}</text>')
    middle = (top + height - bottom) / 2
    out.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{spec["ylabel"]}</text>')
    for k, (name, points) in enumerate(lines):
        colour = colours[k % len(colours)]
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y, _ in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for x, y, mark in points:
            out.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5" fill="{colour}"/>')
            if xs:
                out.append(f'<text x="{px(x) + 7:.1f}" y="{py(y) - 6:.1f}" fill="{colour}">{mark}</text>')
        out.append(f'<text x="{width - right - 6}" y="{top + 4 + 16 * k}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/eks-sim"
    for name in sys.argv[2:] or SHIPPED:
        variants, rows, plot = SHIPPED[name]
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder) / "base"
            summaries = [("base", run(binary, name, None, base))]
            summaries += [(v, run(binary, name, v, Path(folder) / v)) for v in variants]
            if isinstance(plot, dict):
                (HERE / name / f"{plot['file']}.svg").write_text(curve(summaries, plot))
                plot = plot["file"]
            else:
                shutil.copy(base / "plots" / f"{plot}.svg", HERE / name / f"{plot}.svg")
            if name == "webshop":
                shutil.copy(base / "summary.md", HERE / name / "expected.md")
        text = f"<!-- figures -->\n{table(summaries, rows)}\n![{plot}]({plot}.svg)\n<!-- /figures -->"
        readme = HERE / name / "README.md"
        old = readme.read_text()
        new = re.sub(r"<!-- figures -->.*<!-- /figures -->", lambda _: text, old, flags=re.S)
        readme.write_text(new)
        print(name, "written")


if __name__ == "__main__":
    main()
