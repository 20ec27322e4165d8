"""One HTML page about a run: clips before and after, scores, reward curves, gradients by depth, region weights."""

from omninft_train.report.content import ClipPair, Overlay, Report, ScoreRow
from omninft_train.report.page import render_report, write_report

__all__ = ["ClipPair", "Overlay", "Report", "ScoreRow", "render_report", "write_report"]
