"""SFPrompt with clients that die, as a third party's method."""

import os
import signal

from fedbbpt.split_learning.sfprompt import SFPrompt


class Mortal(SFPrompt):
    """One client dies in the second round."""

    def local(self, message, client):
        """As SFPrompt, but for one."""
        if (message.round, client.id) == (2, "client-001"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().local(message, client)
