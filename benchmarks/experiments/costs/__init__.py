"""What a client's round of a white box costs: measured, and by our formulas."""
