"""What `renascent bench build` does."""

from renascent.bench.building import Built, Plan, build, chosen
from renascent.cli.commands.bench_build import BuildFlags, WhereFlags
from renascent.cli.commands.command import Machine, Outcome, lasting
from renascent.cli.work.running import task_on
from renascent.core.files import Json
from renascent.core.protocols import SpaceConfig
from renascent.loops.fit import Fit
from renascent.reports.live import Counted
from renascent.tasks.prepare import ImageOptions


def run(
    word: str | None,
    *,
    flags: BuildFlags,
    space: SpaceConfig,
    training: Fit,
    options: ImageOptions,
    where: WhereFlags,
    command: str,
) -> Outcome:
    """Train every architecture, and write the table."""
    data, out = str(flags.data), str(flags.out)
    plan = Plan(
        space=space,
        data=lasting(data),
        archs=chosen(space.space, flags.archs, flags.sample, flags.sample_seed),
        options=options,
        settings=training,
        seeds=flags.seeds,
        device=where.device,
    )
    task_on(Machine(device=plan.device, download=where.download), data, options)  # fetches, and refuses a device
    with Counted() as bar:
        bar.say(f"{len(plan.jobs)} trainings of {len(plan.archs)} architectures on {data}, {plan.device}; table {out}")
        built = build(
            plan,
            out,
            workers=where.workers,
            ray=where.ray,
            resume=flags.resume,
            command=command,
            say=BuildProgress(bar),
        )
    facts = {
        "table": built.table.name,
        "rows": len(built.table),
        "trainings": built.trainings,
        "failed": built.failed,
        "seconds": round(built.seconds, 3),
        "path": str(built.path),
    }
    return Outcome(facts, _summary(built))


def _summary(built: Built) -> str:
    table, (problem,) = built.table, built.table.problems.values()
    scores = table.values(problem.signal)
    best = int(scores.argmax()) if not built.failed else -1
    lines = [f"{built.path}: {len(table)} architectures, {built.trainings} trainings, {built.failed} failed"]
    if best >= 0:
        lines.append(f"best by {problem.signal}: {scores[best]:.2f} %, {table.space.format(table.arch(best))}")
    lines.append(f"next: renascent bench query --table {built.path} 0")
    return "\n".join(lines)


class BuildProgress:
    """Shows a build's progress, and what failed at once."""

    def __init__(self, bar: Counted) -> None:
        self.bar, self.failed = bar, 0

    def __call__(self, event: Json) -> None:
        """Show that a training or a price is done."""
        if "error" in event:
            self.failed += 1
            self.bar.say(f"failed: {event['arch']} seed {event['seed']}: {event['error']}")
        what = "trained" if event["event"] == "trained" else "measured"
        self.bar.show(what, event["done"], event["of"], f", {self.failed} failed" if self.failed else "")
