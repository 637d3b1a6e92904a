"""`fedbbpt figures`: a run of SFPrompt beside full fine-tuning and a linear classifier, as in its paper's appendix."""
