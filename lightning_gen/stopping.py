"""How a run ends that was asked to stop: after a whole step, saved, with an exit code that says why."""

import signal


class Stopped(SystemExit):
    """Ends a run that a signal asked to stop and that has saved its state.

    Arguments:
        signum: The signal. The exit code is 128 and its number, as shells have it: 130 for SIGINT,
            138 for SIGUSR1, 143 for SIGTERM.
        step: The last global step, which the checkpoint holds.
        quiet: Whether the exit code is 0 all the same, as whoever launched the process takes
            another for a crash.
    """

    def __init__(self, signum: int, step: int, quiet: bool = False) -> None:
        super().__init__(0 if quiet else 128 + signum)
        self.signum, self.step = signum, step

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name} after step {self.step}"
