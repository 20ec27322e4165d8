"""The gate for checkpoints: a candidate's run against a baseline's, clip by clip, with a verdict for each metric."""

from avbench.check.compare import UNDECIDED_CODE, Comparison, compare_runs
from avbench.check.files import comparison_json, comparison_junit
from avbench.check.noise import MetricNoise, Noise, calibrate, load_noise, write_noise
from avbench.check.policy import MetricPolicy, Policy, load_policy
from avbench.check.tables import comparison_markdown, comparison_table, noise_table
from avbench.check.verdict import Finding, Verdict

__all__ = [
    "UNDECIDED_CODE",
    "Comparison",
    "Finding",
    "MetricNoise",
    "MetricPolicy",
    "Noise",
    "Policy",
    "Verdict",
    "calibrate",
    "compare_runs",
    "comparison_json",
    "comparison_junit",
    "comparison_markdown",
    "comparison_table",
    "load_noise",
    "load_policy",
    "noise_table",
    "write_noise",
]
