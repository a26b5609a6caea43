"""Recognition at low cost: AdaFocus, AdaFocus-TSM, AdaFocus V2 and Uni-AdaFocus. See README.md."""
