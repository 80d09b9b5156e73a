#!/usr/bin/env python3
"""Runs the shipped scenarios and writes their figures into the READMEs.

    cargo build --release -p eks-sim-cli
    python3 scenarios/figures.py target/release/eks-sim

Between `<!-- figures -->` and `<!-- /figures -->` each README gets a table (mean and 95 % interval of the
base and every variant) and the plot that answers its question, copied from the output as it is.
"""
import json
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


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/eks-sim"
    for name in sys.argv[2:] or SHIPPED:
        variants, rows, plot = SHIPPED[name]
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder) / "base"
            summaries = [("base", run(binary, name, None, base))]
            summaries += [(v, run(binary, name, v, Path(folder) / v)) for v in variants]
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
