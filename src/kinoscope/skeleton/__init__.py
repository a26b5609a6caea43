"""Skeleton: actions from joint positions, learnt without labels (AimCLR and its baselines)."""
