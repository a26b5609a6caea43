"""Frame-wise representations learned without labels: CARL, TCC, TCN and a supervised baseline."""
