"""What runs took: images, parameters, time. Scores at different budgets say little of models."""

from collections.abc import Mapping, Sequence

from .grouping import Group
from .runs import Run

SAME = {"images_seen": 1.01, "parameters": 1.01, "seconds": 1.1}  # ratios that are no difference
BUDGETS = {"images_seen": "images seen", "parameters": "parameters", "seconds": "training time"}


def budget(group: Group, name: str) -> list[float]:
    """A budget of those runs of a group that know it."""
    return [run.budget[name] for run in group.runs if name in run.budget]


def budget_differences(groups: Sequence[Group]) -> list[str]:
    """Where groups, or the runs of one, had other budgets."""
    said = []
    for name, words in BUDGETS.items():
        means = {g.name: sum(b) / len(b) for g in groups if (b := budget(g, name))}
        if len(means) > 1 and _differ(list(means.values()), SAME[name]):
            low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            amounts = amount(means[low], name), amount(means[high], name)
            said.append(f"{words}: from {amounts[0]} ({low}) to {amounts[1]} ({high})")
        for group in groups if name == "images_seen" else ():
            if _differ(budget(group, name), SAME[name]):
                ends = (amount(end(budget(group, name)), name) for end in (min, max))
                said.append(f"{words} within {group.name}: from {' to '.join(ends)}")
    machines = {_machine(run) for group in groups for run in group.runs if run.environment}
    if len(machines) > 1:
        said.append(
            f"the runs are from {len(machines)} kinds of machine: {', '.join(sorted(machines))}"
        )
    return said


def amount(value: float, name: str) -> str:
    """A budget for reading: 12,800, 0.55 M, 12 s, 3.2 h."""
    if name == "seconds":
        for size, unit in ((3600, "h"), (60, "min")):
            if value >= 2 * size:
                return f"{value / size:.1f} {unit}"
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if name == "parameters" and value >= 1e5:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}"


def _differ(values: Sequence[float], ratio: float) -> bool:
    return len(values) > 1 and max(values) > ratio * max(min(values), 1e-9)


def _machine(run: Run) -> str:
    hardware = run.environment.get("hardware")
    if not isinstance(hardware, Mapping):
        return "unknown hardware"
    gpus = hardware.get("gpus")
    device = (
        ", ".join(sorted({str(gpu) for gpu in gpus})) if isinstance(gpus, list) and gpus else ""
    )
    on_cpu = str(hardware.get("device", "")).startswith("cpu")
    cpu = f"{hardware.get('cpu_count')} x {hardware.get('cpu')}"
    return cpu if on_cpu or not device else device
