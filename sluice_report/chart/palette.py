"""The report's colours: one name per role, in a light and a dark variant.

Data has hues of Okabe and Ito's palette, which stay distinct for colour-blind readers; annotations are black
and white, so that colour always means data. A picture is drawn in the light variant. In the page each light
colour becomes its role's CSS variable, so no two roles may share a light colour.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#5b6570",
    "grid": "#e3e7eb",
    "waiting": "#0072b2",
    "in-flight": "#7cc4ee",
    "in-flight-text": "#2580b3",
    "running": "#8fd3bb",
    "running-text": "#007a59",
    "desired": "#00553e",
    "per-instance": "#9b4f86",
    "of-backlog": "#d6aecb",
    "of-arrivals": "#f1e0ec",
    "target": "#c85200",
    "processing": "#8a6100",
    "failure": "#b3261e",
    "arriving": "#8b949e",
    "plan": "#3a3f45",
    "spread": "#c9ebdf",
    "p99": "#ecd5e6",
    "p95": "#cf9dc1",
    "p50": "#7d3a6b",
    "blue-idle": "#c3d3ea",
    "blue-busy": "#6f93c9",
    "blue-text": "#2f5597",
    "green-idle": "#cbe6c4",
    "green-busy": "#76b567",
    "green-text": "#37772a",
    "step": "#d3d9de",
    "span": "#f2f4f6",
}
DARK = {
    "paper": "#11161c",
    "ink": "#e8ebee",
    "muted": "#a0abb6",
    "grid": "#2b343d",
    "waiting": "#3d9fdd",
    "in-flight": "#a9dcf8",
    "in-flight-text": "#a9dcf8",
    "running": "#1f7f64",
    "running-text": "#4fcda6",
    "desired": "#86e5c8",
    "per-instance": "#dd93c6",
    "of-backlog": "#7a4a6c",
    "of-arrivals": "#35242f",
    "target": "#ff9149",
    "processing": "#e8b84a",
    "failure": "#ff7a70",
    "arriving": "#6e7883",
    "plan": "#d5dade",
    "spread": "#174a3d",
    "p99": "#44293c",
    "p95": "#7f4c70",
    "p50": "#dd93c5",
    "blue-idle": "#2b4468",
    "blue-busy": "#5c86c4",
    "blue-text": "#9bbdf0",
    "green-idle": "#274a22",
    "green-busy": "#5fa44f",
    "green-text": "#93d884",
    "step": "#3a444e",
    "span": "#181f26",
}


def with_variables(svg: str) -> str:
    """Replace each light colour of the drawing by its role's CSS variable."""
    for role, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{role})")
    return svg
