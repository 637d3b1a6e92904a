"""Measurements behind the documentation, and the recipe of the embedded model; the product imports none of them."""
