"""Reports on a finished run. They read result tables only, never media frames, models or metrics."""

from avbench.report.html import write_report
from avbench.report.tables import format_mean, summary_table

__all__ = ["format_mean", "summary_table", "write_report"]
