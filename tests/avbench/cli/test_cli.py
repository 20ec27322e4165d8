"""The command line as a subprocess: output, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from avbench import load_run
from avbench.cli import app

CURES = ("pip install", "avbench models pull", "avbench models accept")


def test_help_is_light_and_names_the_commands(avbench):
    done = avbench("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("score", "check", "clips", "report", "ls", "doctor", "Exit codes"))
    code = (
        "import sys; from typer.testing import CliRunner; from avbench.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'cv2', 'av', 'numpy') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_knowing_all_metrics_loads_no_large_package():
    """What `ls`, `score` and `doctor` do first; scipy.signal alone takes a second."""
    code = (
        "import sys; from avbench.metrics.base import registry; assert len(registry()) > 50; "
        "print([m for m in ('torch', 'pandas', 'scipy', 'transformers') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


@pytest.mark.long
def test_scoring_never_imports_torch(small_clip, tmp_path):
    code = (
        "import sys; from avbench import score_clips; "
        f"score_clips({str(small_clip)!r}, {str(tmp_path / 'run')!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_score_prints_a_table_with_n_and_where_things_are(avbench, small_clip, tmp_path):
    done = avbench("score", small_clip, "-o", tmp_path / "run", "-m", "silence_share,sharpness", env=_wide())
    assert done.returncode == 0, done.stderr
    assert "1 of 1" in done.stdout
    assert "2 computed, 0 reused" in done.stdout
    assert (tmp_path / "run" / "report.html").exists()
    assert done.stderr == ""
    again = avbench("score", small_clip, "-o", tmp_path / "run", "-m", "silence_share,sharpness", env=_wide())
    assert "0 computed, 2 reused" in again.stdout


def _wide():
    import os

    return {**os.environ, "COLUMNS": "200"}


def test_json_goes_to_stdout_alone_and_quiet_says_nothing(avbench, small_clip, tmp_path):
    done = avbench("score", small_clip, "-o", tmp_path, "-m", "silence_share", "--json")
    content = json.loads(done.stdout)
    assert content["overall"][0]["n_ok"] == 1
    assert content["failed_clips"] == []
    quiet = avbench("score", small_clip, "-o", tmp_path, "-m", "silence_share", "--quiet")
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)


@pytest.mark.long
def test_by_model_and_by_category(avbench, examples, tmp_path):
    for by, word in (("model", "Ovi"), ("category", "Speech sounds")):
        done = avbench(
            "score", examples / "manifest.csv", "-o", tmp_path, "-m", "silence_share", "--by", by, env=_wide()
        )
        assert done.returncode == 0, done.stderr
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "CLIP", "-m", "loudnes"], ["unknown metric 'loudnes'", "loudness"]),
        (["score", "CLIP", "--suite", "quik"], ["unknown suite", "quick"]),
        (["score", "CLIP", "--by", "colour"], ["--by", "colour"]),
        (["score", "nowhere"], ["nowhere"]),
        (["clips", "nowhere"], ["nowhere"]),
        (["report", "nowhere"], ["not a run folder"]),
        (["ls", "nothing"], ["unknown suite or metric"]),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(avbench, small_clip, tmp_path, arguments, words):
    done = avbench(*[str(small_clip) if a == "CLIP" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_manifest_may_not_leave_its_folder_unless_allowed(avbench, small_clip, tmp_path):
    manifest = tmp_path / "in" / "m.csv"
    manifest.parent.mkdir()
    manifest.write_text(f"video\n{small_clip}\n")
    refused = avbench("score", manifest, "-o", tmp_path / "run", "-m", "silence_share")
    assert refused.returncode == 2
    assert "line 2" in refused.stderr
    allowed = avbench("score", manifest, "-o", tmp_path / "run", "-m", "silence_share", "--allow-outside")
    assert allowed.returncode == 0, allowed.stderr


def test_failed_clips_give_exit_code_3_unless_allowed(avbench, small_clip, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "good.mp4").write_bytes(small_clip.read_bytes())
    (clips / "bad.mp4").write_text("no")
    arguments = ("score", clips, "-o", tmp_path / "run", "-m", "silence_share", "--quiet")
    done = avbench(*arguments)
    assert done.returncode == 3
    assert "1 of 2 clips failed" in done.stderr
    assert avbench(*arguments, "--max-failed", 0.5).returncode == 0
    assert avbench(*arguments, "--max-failed", 1).returncode == 0
    (clips / "bad.mp4").write_bytes(small_clip.read_bytes())
    assert avbench(*arguments).returncode == 0


def test_retry_errors_computes_failed_clips_again(avbench, small_clip, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no")
    arguments = ("score", bad, "-o", tmp_path / "run", "-m", "silence_share", "--json")
    assert json.loads(avbench(*arguments).stdout)["computed"] == 1
    assert json.loads(avbench(*arguments).stdout)["computed"] == 0
    assert json.loads(avbench(*arguments, "--retry-errors").stdout)["computed"] == 1


def test_clips_shows_what_is_understood_and_computes_nothing(avbench, examples, tmp_path):
    done = avbench("clips", examples / "manifest.csv", "--json")
    found = json.loads(done.stdout)
    assert (found["clips"], found["with_sound"], found["with_prompt"]) == (9, 9, 9)
    assert found["models"] == ["Ovi", "drawn", "recorded"]
    assert found["problems"] == []
    assert found["duration_s"][0] == pytest.approx(5.0, abs=0.1)
    (tmp_path / "x.mp4").write_bytes(b"")
    text = avbench("clips", tmp_path, env=_wide())
    assert text.returncode == 0
    assert "the file is empty" in text.stdout
    assert "1 with problems" in text.stdout


def test_clips_says_how_complete_a_sampling_of_vbench_is(avbench, tmp_path):
    for sample in range(5):
        (tmp_path / f"a bird and a cat-{sample}.mp4").write_bytes(b"")
    (tmp_path / "A person is marching-0.mp4").write_bytes(b"")
    facts = {"prompts_sampled": 1, "samples": 5}
    assert json.loads(avbench("clips", tmp_path, "--json").stdout)["vbench"] == [
        {"dimension": "multiple_objects", "prompts": 82, "prompts_full": 1, "clips": 5, "clips_needed": 410}
        | {"missing": "multiple_objects has 5 samples of 1 of 82 prompts"} | facts,
        {"dimension": "human_action", "prompts": 100, "prompts_full": 0, "clips": 1, "clips_needed": 500}
        | {"missing": "human_action has 5 samples of 0 of 100 prompts"} | facts,
    ]  # fmt: skip
    text = avbench("clips", tmp_path, env=_wide()).stdout
    assert "5 of 410" in text and "0 of 16 dimensions are complete" in text


def test_ls_shows_every_metric_and_why_one_cannot_run(avbench):
    content = json.loads(avbench("ls", "--json").stdout)
    assert set(content["suites"]["quick"]["metrics"]) <= set(content["metrics"])
    assert {"av_align", "av_offset", "temporal_flickering", "silence_share", "dnsmos_overall"} <= set(
        content["metrics"]
    )
    for facts in content["metrics"].values():
        assert facts["unavailable"] is None or any(cure in facts["unavailable"] for cure in CURES)
    text = avbench("ls", "quick", env=_wide())
    assert text.returncode == 0
    lines = {line.split()[0]: line for line in text.stdout.splitlines() if line.startswith("  ")}
    assert set(content["suites"]["quick"]["metrics"]) <= set(lines)
    assert "ready  " in lines["av_offset"]
    if "not installed" in lines["dnsmos_overall"]:
        assert "avbench[speech]" in avbench("ls", "dnsmos_overall").stdout


def test_ls_has_a_line_for_each_metric_on_80_columns(avbench):
    env = {**os.environ, "COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "xterm"}
    for arguments in ((), ("javisbench",)):
        lines = avbench("ls", *arguments, env=env).stdout.splitlines()
        assert max(map(len, lines)) <= 80
    assert len(lines) < 16 + 12 + 2 * 10


def test_ls_tells_all_about_one_metric(avbench):
    told = avbench("ls", "fvd").stdout
    assert all(text in told for text in ("lower is better", "all clips together", "i3d_k400", "javisbench", "arXiv"))
    assert list(json.loads(avbench("ls", "fvd", "--json").stdout)["metrics"]) == ["fvd"]
    wrong = avbench("ls", "sharpnes")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "Did you mean sharpness?" in wrong.stderr


@pytest.mark.long
def test_doctor_names_versions_and_cures(avbench):
    done = avbench("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert "libavcodec" in findings["FFmpeg inside PyAV"]["found"]
    assert all(f["cure"] for f in findings.values() if f["level"] == "broken")
    assert done.returncode == (4 if any(f["level"] == "broken" for f in findings.values()) else 0)


def test_report_writes_a_page_where_told(avbench, small_clip, tmp_path):
    avbench("score", small_clip, "-o", tmp_path / "run", "-m", "silence_share", "--no-html", "--quiet")
    assert not (tmp_path / "run" / "report.html").exists()
    done = avbench("report", tmp_path / "run", "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "page.html").read_text()
    assert len(load_run(tmp_path / "run").scores) == 1


def test_the_protocol_is_stated_and_an_unknown_one_refused(avbench, small_clip, tmp_path):
    done = avbench(
        "score", small_clip, "-o", tmp_path / "run", "-m", "silence_share", "--protocol", "javisbench-4s", "-q"
    )
    assert done.returncode == 0, done.stderr
    info = load_run(tmp_path / "run").info
    assert info["protocol"] == "javisbench-4s"
    assert any("first 4 s" in note for note in info["notes"])
    wrong = avbench("score", small_clip, "-o", tmp_path / "other", "-m", "silence_share", "--protocol", "javisbench")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "Known: javisbench-4s" in wrong.stderr


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--device", "tpu"], 2, "(--device): expected auto"),
        (["--device", "cuda:²"], 2, "(--device): expected auto"),
        (["--device", "cuda:63"], 4, "torch finds"),
        (["--weights-dir", "no/such/folder"], 2, "no such folder"),
        (["--reference", "no_such.npz"], 2, "no_such.npz"),
    ],
)
def test_wrong_options_of_networks_are_one_line(avbench, small_clip, tmp_path, options, code, words):
    pytest.importorskip("torch")
    done = avbench("score", small_clip, "-o", tmp_path / "run", "-m", "clip_score", *options)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("by", "column", "cells", "said"),
    [
        ("model", "", ",", "name them in a column `model`"),
        ("model", "model", "mm", "name them in a column `model`"),
        ("model", "model", "mn", None),
        ("category", "mood", "ab", "found no categories"),
        ("category", "category", "ab", None),
    ],
)
def test_groups_that_are_not_there_are_said(small_clip, tmp_path, by, column, cells, said):
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(small_clip.read_bytes())
    rows = [f"{name}.mp4,{cell.strip(',')}" for name, cell in zip("ab", cells * 2, strict=False)]
    (tmp_path / "list.csv").write_text("\n".join([f"video,{column or 'x'}", *rows]) + "\n")
    command = ["score", tmp_path / "list.csv", "-o", tmp_path / "run", "-m", "silence_share", "--no-html", "--by", by]
    done = CliRunner().invoke(app, list(map(str, command)))
    assert done.exit_code == 0, done.output
    assert ("note: --by" in done.output) == (said is not None)
    assert said is None or said in done.output
