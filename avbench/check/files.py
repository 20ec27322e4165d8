"""A comparison for machines: JSON, and JUnit XML as CI systems show it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any
from xml.etree import ElementTree

from avbench.check.compare import Comparison
from avbench.check.tables import ranked
from avbench.check.verdict import Finding
from avbench.terminal.text import visible

SCHEMA_VERSION = 1


def comparison_json(comparison: Comparison, *, strict: bool = False) -> str:
    """All that was found, as a JSON object; null where there is no number, never NaN.

    Args:
        comparison: what was found.
        strict: whether undecided metrics count, for `exit_code`.
    """
    policy = comparison.policy
    rules = {name: value for name, value in asdict(replace(policy, origin=None)).items() if name != "origin"}
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "candidate": comparison.candidate,
        "baseline": comparison.baseline,
        "candidate_run_id": comparison.run_ids[0],
        "baseline_run_id": comparison.run_ids[1],
        "paired_by": comparison.by,
        "prompts": comparison.prompts,
        "clips": comparison.clips,
        "policy": rules | {"noise": str(policy.noise) if policy.noise else None},
        "strict": strict,
        "exit_code": comparison.exit_code(strict),
        "headline": comparison.headline,
        "findings": [asdict(finding) for finding in comparison.findings],
        "notes": list(comparison.notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def comparison_junit(comparison: Comparison, *, strict: bool = False) -> str:
    """One test case for each metric with a verdict: a regression fails, an undecided one is skipped.

    Args:
        comparison: what was found.
        strict: an undecided metric fails as well.
    """
    findings = ranked(comparison)
    failing = ("worse", "undecided") if strict else ("worse",)
    counts = {
        "tests": len(findings),
        "failures": sum(finding.verdict in failing for finding in findings),
        "errors": 0,
        "skipped": sum(finding.verdict == "undecided" and not strict for finding in findings),
    }
    attributes = {"name": "avbench check"} | {key: str(value) for key, value in counts.items()}
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for finding in findings:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "avbench.check", "name": _clean(finding.metric)})
        if finding.verdict in failing:
            failure = {"message": _clean(_message(finding)), "type": finding.verdict}
            ElementTree.SubElement(case, "failure", failure).text = _clean(_message(finding))
        elif finding.verdict == "undecided":
            ElementTree.SubElement(case, "skipped", {"message": _clean(_message(finding))})
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _message(finding: Finding) -> str:
    parts: list[str] = [finding.verdict]
    if finding.difference is not None:
        interval = "" if finding.low is None or finding.high is None else f" [{finding.low:.4g}, {finding.high:.4g}]"
        parts.append(f"difference {finding.difference:+.4g}{interval}")
    return "; ".join([*parts, *([finding.reason] if finding.reason else [])])


def _clean(text: str) -> str:
    """Text with what XML cannot hold as escapes."""
    return visible(text, keep="\t\n")
