"""`avbench prompts`: which prompt lists there are, what is in them, and how they come here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from avbench.terminal.output import print_data, print_json, say

if TYPE_CHECKING:
    from avbench.prompts import PromptSuite, Template
    from avbench.sources.prompts import PromptRow

app = typer.Typer(help="List, show and download prompt lists.", no_args_is_help=True, rich_markup_mode=None)

Form = Literal["table", "jsonl", "csv", "txt"]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
PromptsDirOption = Annotated[
    Path | None, typer.Option(help="Folder for prompt lists that do not come with avbench; else $AVBENCH_PROMPTS.")
]


@app.command("list")
def list_suites(prompts_dir: PromptsDirOption = None, as_json: AsJson = False) -> None:
    """List prompt suites: how many prompts, which texts, licence, source, and whether they are here."""
    from avbench.prompts import list_prompt_suites

    entries = [_entry(suite, prompts_dir) for suite in list_prompt_suites()]
    if as_json:
        print_json(entries)
        return
    columns = ("suite", "prompts", "texts", "here", "licence", "what")
    cells = [
        (f["name"], str(f["prompts"]), f["texts"], "yes" if f["path"] else "no: pull", f["licence"], f["summary"])
        for f in entries
    ]
    _print_table("prompt suites", columns, cells)


@app.command("show")
def show_suite(
    suite: Annotated[str, typer.Argument(help="Suite, as 'avbench prompts list' names it.")],
    category: Annotated[
        list[str] | None, typer.Option(help="Only prompts of this category; several must all hold.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many prompts.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How to write them.")] = "table",
    out: Annotated[Path | None, typer.Option(help="Write to this file: .jsonl, .csv or .txt.")] = None,
    video: Annotated[
        str | None, typer.Option(help="Names of the clips, such as 'clips/{prompt_id}.mp4': makes it a manifest.")
    ] = None,
    samples: Annotated[
        str, typer.Option(help="Clips of each prompt, with {sample} in --video; 'vbench': as many as VBench asks for.")
    ] = "1",
    path: Annotated[bool, typer.Option("--path", help="Print only where the suite's file is.")] = False,
    prompts_dir: PromptsDirOption = None,
) -> None:
    """Show the prompts of a suite, or write them as a prompt list or a manifest."""
    from avbench.prompts import load_prompt_suite, prompt_file, render, select_rows

    if path:
        say(str(prompt_file(suite, prompts_dir)))
        return
    template = _template(video, samples)
    rows = select_rows(load_prompt_suite(suite, prompts_dir).rows, category or (), limit)
    chosen = _form(out, form)
    if chosen == "table":
        if template is not None:
            from avbench.errors import UsageError

            raise UsageError("--video makes a manifest. Say where to: --out FILE, or --format jsonl or csv.")
        _print_prompts(suite, rows)
    elif out is None:
        print_data(render(rows, chosen, template))
    else:
        _write(out, render(rows, chosen, template))
        say(str(out))


@app.command("pull")
def pull_suites(
    names: Annotated[list[str], typer.Argument(help="Suites.")], prompts_dir: PromptsDirOption = None
) -> None:
    """Download prompt lists that do not come with avbench; a file that is in the folder already is checked."""
    from avbench.prompts import get_prompt_suite, pull_prompts

    for suite in [get_prompt_suite(name) for name in names]:
        done = pull_prompts(suite.name, prompts_dir)
        say(f"{done.path}\t{done.count} prompts, {'downloaded' if done.fresh else 'already here'}")
        if done.note:
            say(f"note: {done.note}", err=True)


@app.command("categories")
def show_categories(as_json: AsJson = False) -> None:
    """Show JavisBench's nineteen categories with their definitions."""
    from dataclasses import asdict

    from avbench.prompts import taxonomy

    aspects = taxonomy()
    if as_json:
        print_json([asdict(aspect) for aspect in aspects])
        return
    cells = [(aspect.name, kind.name, kind.description) for aspect in aspects for kind in aspect.categories]
    _print_table("JavisBench's categories", ("aspect", "category", "what belongs to it"), cells)


def _entry(suite: PromptSuite, folder: Path | None) -> dict[str, Any]:
    from avbench.prompts import find_prompts

    path = find_prompts(suite, folder)
    return {
        "name": suite.name,
        "prompts": suite.count,
        "texts": suite.texts,
        "summary": suite.summary,
        "licence": suite.licence,
        "source": suite.source,
        "revision": suite.hub.revision if suite.hub else None,
        "sha256": {file.name: file.sha256 for file in suite.web} or None,
        "path": str(path) if path else None,
    }


def _template(video: str | None, samples: str) -> Template | None:
    from avbench.errors import UsageError
    from avbench.prompts import Template

    if samples != "vbench" and not samples.removeprefix("-").isdecimal():
        raise UsageError(f"--samples takes a number or 'vbench', got {samples!r}")
    if video is None:
        if samples != "1":
            raise UsageError("--samples says how many clips a manifest lists for each prompt: give --video too.")
        return None
    return Template(video, None if samples == "vbench" else int(samples))


def _form(out: Path | None, form: Form) -> Form:
    """The format asked for, or the one that a file's suffix means."""
    from avbench.errors import UsageError

    if out is None or form != "table":
        return form
    forms: dict[str, Form] = {".jsonl": "jsonl", ".csv": "csv", ".txt": "txt"}
    if out.suffix.lower() not in forms:
        raise UsageError(f"--out {out}: expected a name that ends in {', '.join(forms)}, or --format.")
    return forms[out.suffix.lower()]


def _print_prompts(suite: str, rows: list[PromptRow]) -> None:
    from collections import Counter

    cells = []
    for number, row in enumerate(rows):
        texts = dict.fromkeys(filter(None, (row.prompt.video_text, row.prompt.audio_text)))
        shown = "\n".join(texts) or row.prompt.text or "–"
        cells.append((row.prompt.prompt_id or str(number), shown, ", ".join(c.name for c in row.categories) or "–"))
    _print_table(f"{suite}: {len(rows)} prompts", ("prompt", "text", "categories"), cells)
    counts = Counter(category for row in rows for category in row.categories)
    if counts:
        counted = [(category.aspect, category.name, str(count)) for category, count in counts.items()]
        _print_table("prompts by category", ("aspect", "category", "prompts"), sorted(counted))


def _print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table

    heads = tuple(Column(name, name, "text") for name in columns)
    print_table(Table(title, heads, tuple(map(row_of, rows))))


def _write(out: Path, text: str) -> None:
    from avbench.errors import EnvironmentProblem, UsageError
    from avbench.files import make_folder, write_atomically

    if out.is_dir():
        raise UsageError(f"--out {out} is a folder. Name a file in it.")
    try:
        make_folder(out.parent)
        write_atomically(out, text.encode())
    except EnvironmentProblem as error:
        raise EnvironmentProblem(f"cannot write to --out: {error}. Name another file.") from error
