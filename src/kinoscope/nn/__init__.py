"""Building blocks that two or more tasks share: tensors and masks in, tensors out."""
