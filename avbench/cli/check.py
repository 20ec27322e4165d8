"""`avbench check`: is a checkpoint worse than the one before?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from avbench.cli.options import written_here
from avbench.terminal.output import say

if TYPE_CHECKING:
    from avbench.check import Comparison

_COMPARE = "compare"


class _Group(TyperGroup):
    """Takes what names no command as arguments of the comparison: `avbench check CANDIDATE` and `check calibrate`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the comparison in front where it is meant."""
        named = bool(args) and args[0] in self.commands and not self.commands[args[0]].hidden
        return list(super().parse_args(ctx, args if named else [_COMPARE, *args]))


class _Compare(TyperCommand):
    """Goes by the name of its group, in help and in messages."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context in the place of the group's."""
        return super().make_context(parent.info_name, args, parent.parent, **extra)


app = typer.Typer(
    cls=_Group,
    help="Is a run worse than a baseline? Exit code 1 if it is.",
    rich_markup_mode=None,
)

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write everything as JSON to this file.")]
JunitOption = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML, one test case for each metric.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown, for a summary.")]


@app.command(
    _COMPARE,
    cls=_Compare,
    hidden=True,
    epilog="Exit codes: 0 no regression, 1 regression, 2 wrong usage or runs that cannot be compared, "
    "5 undecided with --strict.",
)
def compare(
    candidate: Annotated[str, typer.Argument(help="Run folder of the new checkpoint, also in object storage.")],
    baseline: Annotated[str, typer.Option("--baseline", "-b", help="Run folder of the old one, same prompts.")],
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="What counts as a regression (TOML).")] = None,
    noise: Annotated[
        Path | None, typer.Option("--noise", help="Noise floors of 'check calibrate'; instead of the policy's.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 5 where a metric stays undecided.")] = False,
    json_file: JsonOption = None,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table.")] = False,
) -> None:
    """Compare a run with a baseline, clip by clip, and say for each metric: better, same, worse or undecided.

    Clips are paired by prompt and sample index. Both runs must have been scored in the same way.
    The other form, 'avbench check calibrate RUN RUN ...', measures what counts as noise.
    """
    from dataclasses import replace

    from avbench.check import Policy, compare_runs, comparison_json, comparison_junit, comparison_markdown, load_policy

    chosen = load_policy(policy) if policy else Policy()
    if noise:
        chosen = replace(chosen, noise=noise)
    comparison = compare_runs(candidate, baseline, chosen)
    texts = [
        (json_file, comparison_json(comparison, strict=strict)),
        (junit, comparison_junit(comparison, strict=strict)),
        (markdown, comparison_markdown(comparison)),
    ]
    _write([(path, text) for path, text in texts if path])
    if not quiet:
        _show(comparison)
    raise typer.Exit(comparison.exit_code(strict))


@app.command("calibrate")
def calibrate_runs(
    runs: Annotated[list[str], typer.Argument(help="Run folders of one checkpoint, generated anew each time.")],
    out: Annotated[Path, typer.Option("--out", "-o", callback=written_here, help="File to write (TOML).")] = Path(
        "noise.toml"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table.")] = False,
) -> None:
    """Measure how much runs of one and the same checkpoint differ, for 'avbench check --noise'."""
    from avbench.check import calibrate, noise_table, write_noise
    from avbench.pages.terminal import print_table

    noise = calibrate(runs)
    write_noise(noise, out)
    if not quiet:
        print_table(noise_table(noise))
        say(str(out))


def _write(files: Sequence[tuple[Path, str]]) -> None:
    from avbench.errors import UsageError
    from avbench.files import write_atomically

    paths = [path.absolute() for path, _ in files]
    if len(set(paths)) < len(paths):
        raise UsageError("--json, --junit and --markdown name the same file. Give each its own.")
    for path, text in files:
        write_atomically(path, text.encode("utf-8", "backslashreplace"))  # names of files may be no text


def _show(comparison: Comparison) -> None:
    from avbench.check import comparison_table
    from avbench.pages.terminal import print_table

    print_table(comparison_table(comparison))
    say(comparison.headline)
