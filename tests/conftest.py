"""What all tests share."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a script that starts tests in the background leaves it so, and they and their processes would hear no Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
