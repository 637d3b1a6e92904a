"""Ctrl-C reaches a program wherever it was started."""

import signal
import threading


def restore_ctrl_c() -> None:
    """Makes SIGINT raise `KeyboardInterrupt` again.

    A shell starts background jobs with SIGINT ignored, and every process that they start inherits that. Our programs
    rely on the signal: it is how a person stops them with nothing lost.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
