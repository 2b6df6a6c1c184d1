"""The table of docs/performance.md."""

from statistics import median

from . import machine
from .mosquitto import BACKLOG, about_mosquitto
from .storms import rate

BEGIN = "<!-- {part}: begin; scripts/bench writes what is between these two lines -->"
END = "<!-- {part}: end -->"
FLOOR = 15_000


def spread(values, form="{:,.0f}"):
    """Median, and in parentheses the least and the most."""
    show = lambda value: form.format(value)  # noqa: E731
    return f"{show(median(values))} ({show(min(values))}–{show(max(values))})"


def storm_cells(results, rate=rate, phase="activation"):
    """A storm's rate, p50 and p99 in ms, and the server's CPU for each device,
    over all rounds."""
    times = lambda part: spread([one["phases_us"][phase][part] / 1e3 for one in results], "{:.1f}")  # noqa: E731
    cpu = [one["server_cpu_us"] for one in results if "server_cpu_us" in one]
    return spread([rate(one) for one in results]), times("p50"), times("p99"), f"{median(cpu):.0f} µs" if cpu else "–"


def percentile(values, share):
    """The least value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def verdict(value, target, limit, more_is_better=True):
    if not more_is_better:
        value, target, limit = -value, -target, -limit
    return "target" if value >= target else "within the limit" if value >= limit else "**short**"


def ratios(made, one, *others):
    """Over the best of the others, round by round."""
    return [rate(round_[one]) / max(rate(round_[other]) for other in others) for round_ in made]


def design_rows(plan, made, held, starts):
    """What | measured | target | limit | verdict."""
    floor = median(rate(one["floor"]) for one in made)
    shares = ratios(made, "storm", "floor")
    rivals = ratios(made, "request", "mosquitto", "mosquitto_calm")
    even = median(rate(one["storm"]) for one in made) / median(rate(one["few"]) for one in made)
    p99s = [one["storm"]["phases_us"]["activation"]["p99"] / 1e3 for one in made]
    per_session = (held["held"][0] - held["before"][0]) / held["sessions"]
    freed = (held["held"][0] - held["after"][0]) / held["sessions"]
    revokes = [one * 1e3 for one in held["revoke"]]
    starts = [one * 1e3 for one in starts]
    void = "" if floor >= FLOOR else f": **void**, the floor made less than {FLOOR:,}/s"
    revoke = percentile(revokes, 0.99)
    return [
        ("rate as a share of the floor's" + void, spread(shares, "{:.2f}"), "0.8", "0.5", verdict(median(shares), 0.8, 0.5)),
        ("rate over mosquitto's better one (`--request`)", spread(rivals, "{:.1f}"), "3", "2", verdict(median(rivals), 3, 2)),
        ("p99 from the TCP connection to the answer", f"{spread(p99s, '{:.1f}')} ms", "50 ms", "250 ms", verdict(median(p99s), 50, 250, False)),
        (f"rate at {plan.devices:,} over rate at {plan.few:,}", f"{even:.2f}", "1.0", "0.9", verdict(even, 1.0, 0.9)),
        (f"server memory a held session, grown since the start", f"{per_session:,.0f} B", "2 KB", "4 KB", verdict(per_session, 2000, 4000, False)),
        (f"server memory a held session, given back at its end", f"{freed:,.0f} B", "2 KB", "4 KB", verdict(freed, 2000, 4000, False)),
        (f"revoke to disconnect at {held['sessions']:,}, p99 of {len(revokes)}", f"{revoke:.1f} ms", "20 ms", "50 ms", verdict(revoke, 20, 50, False)),
        (f"start to first activation, median of {len(starts)}", f"{spread(starts)} ms", "100 ms", "300 ms", verdict(median(starts), 100, 300, False)),
    ]  # fmt: skip


def storm_rows(plan, made):
    """Contender | activations/s | p50 | p99 of the activation | server CPU."""
    names = [
        ("floor", f"floor, {plan.devices:,}"),
        ("storm", f"Firstwake, {plan.devices:,}"),
        ("few", f"Firstwake, {plan.few:,}"),
        ("request", f"Firstwake, {plan.devices:,}, `--request`"),
        ("mosquitto", f"mosquitto, {plan.devices:,}, `--request`"),
        ("mosquitto_calm", f"mosquitto, {plan.devices:,}, `--request`, {min(BACKLOG, plan.in_flight)} in flight"),
    ]
    for key, name in names:
        yield (name, *storm_cells([one[key] for one in made]))


def held_rows(held):
    """When | resident | anonymous."""
    for when in ("before", "held", "after"):
        resident, anonymous = held[when]
        yield (when, f"{resident / 1e6:.1f} MB", f"{anonymous / 1e6:.1f} MB")
    share = lambda part, to: (held["held"][part] - held[to][part]) / held["sessions"]  # noqa: E731
    yield ("a session, grown", f"{share(0, 'before'):,.0f} B", f"{share(1, 'before'):,.0f} B")
    yield ("a session, given back", f"{share(0, 'after'):,.0f} B", f"{share(1, 'after'):,.0f} B")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(about, plan, made, held, starts):
    facts = [*about, ("mosquitto", about_mosquitto()), ("load after (1 min)", f"{machine.load():.2f}")]
    revokes = [one * 1e3 for one in held["revoke"]]
    parts = [
        table(["machine", ""], facts),
        table(["what", "measured", "target", "limit", "verdict"], design_rows(plan, made, held, starts)),
        f"The storms of the {plan.rounds} rounds, {plan.in_flight} in flight; medians (least–most), times in ms, CPU for each activation:",
        table(["who", "activations/s", "p50", "p99", "server CPU"], storm_rows(plan, made)),
        f"Memory of the server, {held['sessions']:,} confirmed sessions held:",
        table(["when", "resident", "anonymous"], held_rows(held)),
        f"Revoke to disconnect: median {median(revokes):.1f} ms, most {max(revokes):.1f} ms.",
    ]
    return "\n\n".join(parts)


def put(path, part, text):
    """Replaces what is between a part's markers."""
    begin, end = BEGIN.format(part=part), END.format(part=part)
    page = path.read_text()
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"bench: {path} has no place for {part}: put back its two markers")
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
