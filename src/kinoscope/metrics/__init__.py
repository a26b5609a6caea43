"""Metrics that two or more tasks share: plain arrays in, numbers out."""
