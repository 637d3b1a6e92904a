"""Federated black-box prompt tuning: clients improve a prompt for a model that they may only query.

The command line (`fedbbpt --help`) is the front door. From Python::

    from pathlib import Path

    from fedbbpt.config import make_config
    from fedbbpt.run.train import train

    summary = train(make_config({"rounds": 5}), Path("my-run"))
"""

__version__ = "0.1.0"
