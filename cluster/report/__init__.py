"""The report of a run: one HTML file that opens offline.

``info = compute(...)`` gathers what is shown, as plain facts; ``render(info)`` makes a page of it. Adding a
figure is adding a file to this folder.
"""

from __future__ import annotations

from cluster.report.info import Evidence, KernelEstimate, ReportInfo, compute
from cluster.report.page import render
from cluster.report.prediction import coverage

__all__ = ["Evidence", "KernelEstimate", "ReportInfo", "compute", "coverage", "render"]
