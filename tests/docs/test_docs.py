"""The documentation is true: tables are fresh, commands and Python blocks run, links lead somewhere.

Every line of a `sh` or `bash` block in README.md or docs/ that starts with `avbench` or `.venv/bin/avbench` is run,
page by page, in a folder with a copy of examples/clips. Put `<!-- slow -->` on the line before a block to run it with
the slow tests only, and use a `text` block for commands that cannot run as they stand.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from avbench.metrics.base import registry
from avbench.results import load_run
from avbench.weights.checkpoints import CHECKPOINTS

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- slow -->\n)?```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = ("avbench ", ".venv/bin/avbench ")
# Enough for every command, and small: the others only take time.
KEPT_ROWS = ("clip_id,", "bounce,", "bounce_late,", "big_buck_bunny_51,")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    slow: bool

    @property
    def commands(self) -> list[str]:
        """Lines that call avbench, with continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.strip().removeprefix(".venv/bin/") for line in lines if line.strip().startswith(COMMANDS)]


def blocks(page: Path, *languages: str) -> list[Block]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, text, bool(slow)) for slow, language, text in found if language in languages]


def page_id(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def cases() -> list[object]:
    """Pages with commands, quick ones and slow ones apart."""
    found: list[object] = []
    for page in PAGES:
        own = [block for block in blocks(page, "sh", "bash") if block.commands]
        if any(not block.slow for block in own):
            found.append(pytest.param(page, False, id=page_id(page)))
        if any(block.slow for block in own):
            found.append(pytest.param(page, True, id=f"{page_id(page)}-slow", marks=pytest.mark.slow))
    return found


@pytest.fixture
def place(tmp_path: Path, examples: Path) -> Path:
    """A folder with examples/clips, as a user has it who cloned the repository; the manifest is shorter."""
    clips = tmp_path / "examples" / "clips"
    shutil.copytree(examples, clips)
    lines = (clips / "manifest.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (clips / "manifest.csv").write_text("".join(line for line in lines if line.startswith(KEPT_ROWS)), encoding="utf-8")
    return tmp_path


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`avbench` is on the path and is this checkout's."""
    folder = tmp_path_factory.mktemp("bin")
    shim = folder / "avbench"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m avbench "$@"\n')
    shim.chmod(0o755)
    path, modules = os.environ.get("PATH", ""), os.environ.get("PYTHONPATH", "")
    own = {"PATH": f"{folder}:{path}", "PYTHONPATH": f"{REPOSITORY}:{modules}".rstrip(":")}
    return {**os.environ, **own, "AVBENCH_CACHE": str(folder / "embeddings")}


def run_python(code: str, place: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_generated_tables_are_fresh():
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_table_is_noticed_and_repaired(tmp_path, environment):
    copy = tmp_path / "docs"
    shutil.copytree(DOCS, copy)
    page = copy / "metrics" / "README.md"
    good = page.read_text(encoding="utf-8")
    page.write_text(good.replace("LUFS", "decibel"), encoding="utf-8")
    script = [sys.executable, str(copy / "generate.py")]
    check = subprocess.run([*script, "--check"], env=environment, capture_output=True, text=True)
    assert check.returncode == 1
    assert "docs/metrics/README.md" in check.stdout
    assert subprocess.run(script, env=environment).returncode == 0
    assert page.read_text(encoding="utf-8") == good


@pytest.mark.parametrize("name", [n for n, m in registry().items() if m.function.__module__.startswith("avbench.")])
def test_every_metric_is_described_on_its_family_page(name):
    family = DOCS / "metrics" / f"{registry()[name].family}.md"
    assert family.is_file(), f"{name} belongs to family {family.stem}, and {family} does not exist"
    text = family.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- generated:.*?<!-- end -->", "", text, flags=re.DOTALL)
    assert re.search(rf"\b{name}\b", prose), f"{family} says nothing about {name}"
    assert f"<!-- generated:family {family.stem} -->" in text


def test_tests_that_a_page_names_exist():
    named = {(page, name) for page in PAGES for name in re.findall(r"`(tests/[^`]+?::\w+)`", page.read_text("utf-8"))}
    assert named
    for page, name in sorted(named):
        file, _, function = name.partition("::")
        path = REPOSITORY / file
        assert path.is_file(), f"{page_id(page)}: {file}"
        assert f"\ndef {function}(" in path.read_text(encoding="utf-8"), f"{page_id(page)}: {name}"


def test_what_is_asked_for_once_is_named_among_the_licences():
    text = (DOCS / "models.md").read_text(encoding="utf-8").split("\n## Licences\n")[1].split("\n## ")[0]
    asked = {name for name, checkpoint in CHECKPOINTS.items() if checkpoint.must_accept}
    assert asked <= set(re.findall(r"`(\w+)`", text))


def test_what_people_agree_with_names_the_metrics_that_exist():
    text = (DOCS / "metrics" / "README.md").read_text(encoding="utf-8")
    absent = re.findall(r"^\| ([\w-]+)[^|]*\| not in avbench \|", text, flags=re.MULTILINE)
    assert absent
    assert not {name.lower().replace("-", "_") for name in absent} & set(registry())


def test_index_lists_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    missing = [page_id(page) for page in DOCS.rglob("*.md") if page.relative_to(DOCS).as_posix() not in index]
    assert missing == ["docs/index.md"]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "slow"), cases())
@pytest.mark.long
def test_commands_run(page, slow, place, environment):
    for block in blocks(page, "sh", "bash"):
        if block.slow and not slow:
            continue
        for command in block.commands:
            done = subprocess.run(
                ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def local_forms() -> dict[str, str]:
    """Scripts of docs/scale.md that score the shards of a run, as a shell of this machine runs them."""
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    headings = ("SLURM", "Kubernetes", "GNU parallel")
    slurm, kubernetes, parallel = (BLOCK.search(page, page.index(f"\n### {heading}\n"))[3] for heading in headings)
    pod = shlex.quote(yaml.safe_load(kubernetes)["spec"]["template"]["spec"]["containers"][0]["args"][0])
    return {
        "slurm": f"for i in 1 2; do SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_ID=$i bash -c {shlex.quote(slurm)}; done",
        "kubernetes": f"for i in 0 1; do SHARDS=2 JOB_COMPLETION_INDEX=$i bash -c {pod}; done",
        "parallel": parallel.replace("{}/4", "{}/2").replace("::: 1 2 3 4", "::: 1 2"),
    }


# Where GNU parallel is not installed: its arguments after ":::", one after the other in place of "{}".
PARALLEL = """#!/bin/bash
shift 2; line=(); while [ "$1" != ":::" ]; do line+=("$1"); shift; done; shift
for each in "$@"; do "${line[@]//\\{\\}/$each}" || exit 1; done
"""


@pytest.mark.parametrize(
    "form", ["slurm", *(pytest.param(form, marks=pytest.mark.slow) for form in ("kubernetes", "parallel"))]
)
@pytest.mark.long
def test_scripts_that_score_shards_give_the_run_over_all_clips(place, environment, form):
    shim = Path(environment["PATH"].partition(":")[0]) / "parallel"
    if shutil.which("parallel") is None:
        shim.write_text(PARALLEL)
        shim.chmod(0o755)
    settings = {"CLIPS": "examples/clips/manifest.csv", "SUITE": "quick", "RUN": "runs/x"}
    script = local_forms()[form].replace('--suite "$SUITE"', "-m sharpness,silence_share")
    script += "\navbench merge runs/x-shard-* --out runs/x --quiet"
    script += '\navbench score "$CLIPS" -m sharpness,silence_share --out runs/whole --quiet --no-html'
    done = subprocess.run(
        ["bash", "-ec", script], cwd=place, env={**environment, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (place / "runs").iterdir()) == ["whole", "x", "x-shard-1", "x-shard-2"]
    tables = [load_run(place / "runs" / name).scores.drop(columns=["run_id", "seconds"]) for name in ("x", "whole")]
    assert tables[0].equals(tables[1]) and len(tables[0]) == 6


@pytest.mark.parametrize("page", [page for page in PAGES if page.name in ("README.md", "python.md")], ids=page_id)
@pytest.mark.long
def test_python_blocks_run(page, place, environment):
    """All blocks of a page, one after the other in one process."""
    if code := "\n".join(block.text for block in blocks(page, "python")):
        assert run_python(code, place, environment)


@pytest.mark.long
def test_the_metric_of_the_guide_runs_on_arrays(place, environment):
    code = "\n".join(block.text for block in blocks(DOCS / "new_metric.md", "python"))
    lines = run_python(code, place, environment).splitlines()
    assert re.match(r"mono Score\(value=0\.0, status='ok'", lines[0])
    assert re.match(r"opposite Score\(value=1\.0, status='ok'", lines[1])


def test_the_metric_of_the_guide_is_found_through_its_entry_point(place, environment, small_clip):
    """A module and the metadata that installing a package with that entry point leaves behind."""
    package = place / "packages"
    (info := package / "stereo_width-1.0.dist-info").mkdir(parents=True)
    guide = DOCS / "new_metric.md"
    (package / "stereo_width.py").write_text(blocks(guide, "python")[0].text, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stereo-width\nVersion: 1.0\n")
    entry = blocks(guide, "toml")[0].text.splitlines()
    assert entry[0] == '[project.entry-points."avbench.scorers"]'
    (info / "entry_points.txt").write_text("[avbench.scorers]\n" + "\n".join(entry[1:]).replace('"', "") + "\n")
    path = f"{package}:{environment['PYTHONPATH']}"
    clips = place / "examples" / "clips"
    code = (
        "from avbench import Clip, score_clips\nfrom pathlib import Path\n"
        f"clips = [Clip('mono', Path({str(small_clip)!r})), Clip('stereo', Path({str(clips / 'friday.mp4')!r}))]\n"
        "scores = score_clips(clips, 'run', metrics=['stereo_width']).scores.set_index('clip_id')\n"
        "assert scores.loc['stereo', 'status'] == 'ok' and 0 <= scores.loc['stereo', 'value'] <= 1, scores.T\n"
        "assert scores.loc['mono', 'reason'] == '1 channels; stereo needed', scores.T\n"
    )
    run_python(code, place, {**environment, "PYTHONPATH": path})


@pytest.mark.long
def test_a_package_whose_metrics_cannot_be_loaded_costs_only_them(place, environment):
    package = place / "packages"
    (info := package / "broken_metrics-1.0.dist-info").mkdir(parents=True)
    (package / "broken_metrics.py").write_text("import no_such_package\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.scorers]\nmine = broken_metrics\n")
    environment = {**environment, "PYTHONPATH": f"{package}:{environment['PYTHONPATH']}"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "avbench", *arguments]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)

    clip = "examples/clips/bounce.mp4"
    good = run("score", clip, "-o", "good", "-m", "true_peak", "--no-html", "--json")
    assert good.returncode == 0, good.stderr
    assert good.stderr.count("\n") == 1
    assert "the metrics of broken-metrics cannot be loaded (ModuleNotFoundError: No module named" in good.stderr
    bad = run("score", clip, "-o", "bad", "-m", "mine")
    assert bad.returncode == 2
    assert "unknown metric 'mine'" in bad.stderr and "broken-metrics cannot be loaded" in bad.stderr
    assert "broken-metrics" in run("doctor").stdout
