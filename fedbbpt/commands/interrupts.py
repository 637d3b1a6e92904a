"""Makes Ctrl-C stop a program wherever it was started."""

import signal
import threading


def restore_ctrl_c() -> None:
    """Makes SIGINT raise `KeyboardInterrupt` again where it is ignored.

    Shells start background jobs with SIGINT ignored, and every process of the job inherits that. It is the signal that
    stops a training without losing anything.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
