"""Federated black-box prompt tuning: clients improve a prompt for a model that they may only query.

The command line (`fedbbpt --help`) is the front door. From Python::

    from fedbbpt.run.config import Config
    from fedbbpt.run.train import train

    summary = train(Config(rounds=5), out="my-run")
"""

__version__ = "0.1.0"
