"""The Python face of fedbbpt: `train`, `resume`, `load` and `PromptClassifier`, which `fedbbpt` itself exports."""
