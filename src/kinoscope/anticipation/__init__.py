"""Anticipation: what a person will do next, from the video up to some seconds before it starts (S-GEAR)."""
