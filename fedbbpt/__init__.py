"""Federated black-box prompt tuning: clients improve a prompt for a model that they may only query.

Most users call the command line: see `fedbbpt --help`. This trains from Python, into a new folder::

    from pathlib import Path

    from fedbbpt.config import make_config
    from fedbbpt.run.train import train

    summary = train(make_config({"rounds": 5, "prompt": {"name": "dct"}}), Path("my-run"))
    print(summary["test_accuracy"])

The settings are those of `fedbbpt config show`.
"""

__version__ = "0.1.0"
