"""A tuned model: what a run has learned, in front of the model that it was learned for, ready to answer."""
