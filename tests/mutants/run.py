"""Put one fault after another into a copy of the trainer, and see whether the tests chosen for it fail.

Usage: python tests/mutants/run.py [--only TEXT] [--part K/N] [--out REPORT.json]

Torch and its kin are imported once; each mutant gets a forked process, in which the copy of the package comes first.
Ends with 1 if a mutant survives that has no explanation, or if the unchanged copy fails a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from mutants import MUTANTS, PACKAGE, REPOSITORY, Mutant

_SECONDS = 900  # for the tests of one mutant
_NOT_COUNTED = 3  # an outcome of pytest that says nothing about the mutant: no test ran, or it was called wrongly
_HUNG = 4  # a slow machine, perhaps: no proof that the tests noticed anything


def main() -> int:
    """Run all mutants, or those whose name holds a text."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="text in the name of a mutant")
    parser.add_argument("--part", default="1/1", help="for example 2/3: the second of three runs side by side")
    parser.add_argument("--out", type=Path, help="JSON file for the outcome")
    options = parser.parse_args()
    _import_what_is_heavy()
    part, parts = map(int, options.part.split("/"))
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name][part - 1 :: parts]
    unchanged = Mutant("unchanged", "", "", "", tuple(dict.fromkeys(t for mutant in chosen for t in mutant.tests)))
    outcomes = {}
    for mutant in (unchanged, *chosen):
        started = time.monotonic()
        outcome = _outcome(mutant)
        outcomes[mutant.name] = outcome
        print(f"{outcome:9} {time.monotonic() - started:5.0f} s  {mutant.name}", flush=True)
        if mutant is unchanged and outcome != "survived":
            print("The tests fail without any mutant; nothing can be said.")
            return 1
    del outcomes["unchanged"]
    return _told(outcomes, {mutant.name: mutant.explained for mutant in chosen}, options.out)


def _told(outcomes: dict[str, str], explained: dict[str, str], out: Path | None) -> int:
    killed = sum(outcome == "killed" for outcome in outcomes.values())
    odd = [name for name, outcome in outcomes.items() if outcome != "killed" and not explained[name]]
    print(f"{killed} of {len(outcomes)} killed; {len(outcomes) - killed - len(odd)} explained; {len(odd)} neither")
    for name in odd:
        print(f"  {outcomes[name]}: {name}")
    if out is not None:
        out.write_text(json.dumps(outcomes, indent=1) + "\n", encoding="utf-8")
    return 1 if odd else 0


def _import_what_is_heavy() -> None:
    """Everything slow that the tests import but the package itself, which every mutant imports anew."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    import conftest  # noqa: F401 - sets the environment that torch reads
    import diffusers.models.transformers.transformer_ltx2
    import diffusers.pipelines.ltx2
    import hypothesis
    import peft
    import pytest  # noqa: F401
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)  # threads do not survive a fork
    for name in ("LTX2Pipeline", "LTX2VideoTransformer3DModel", "AutoencoderKLLTX2Video", "AutoencoderKLLTX2Audio"):
        getattr(diffusers, name)
    del hypothesis, peft
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE.name, "conftest")]:
        del sys.modules[name]


def _outcome(mutant: Mutant) -> str:
    """ "killed", "survived", "hung", or "broken" for a mutant whose tests could not say anything."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant.file:
            path = folder / PACKAGE.name / mutant.file
            path.write_text(mutant.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
        process = os.fork()
        if process == 0:
            os._exit(_tested(folder, mutant.tests))
        return {0: "survived", 1: "killed", _HUNG: "hung"}.get(_ended(process), "broken")
    finally:
        shutil.rmtree(folder)


def _tested(folder: Path, tests: tuple[str, ...]) -> int:
    """In the forked process: 0 if the tests pass, 1 if one fails."""
    import pytest

    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    os.chdir(REPOSITORY)
    with (folder / "log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--basetemp", str(folder / "tmp"), *tests]))
    import omninft_train

    if Path(str(omninft_train.__file__)).parent != folder / PACKAGE.name:
        return _NOT_COUNTED  # the tests ran on another copy
    return code if code in (0, 1) else _NOT_COUNTED


def _ended(process: int) -> int:
    """Exit code of a child, or that it had to be ended."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(process, 9)
    os.waitpid(process, 0)
    return _HUNG


if __name__ == "__main__":
    sys.exit(main())
