"""Helpers for web and task frameworks. Each needs its framework, and the extra of its name."""
