"""Measurements behind the README, and the recipe of the embedded model; the product imports none of them."""
