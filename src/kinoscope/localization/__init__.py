"""Temporal action localization: ActionFormer (arXiv 2202.07925) and its enhanced fork."""
