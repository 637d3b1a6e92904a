"""SFPrompt with a client that dies, as a third party's algorithm."""

import os
import signal

from fedbbpt.split_learning.sfprompt import SFPrompt


class DyingClient(SFPrompt):
    """One client dies in the second round."""

    def _train(self, message, ctx):
        """As SFPrompt, but for one."""
        if (message.round, ctx.id) == (2, "client-001"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._train(message, ctx)
