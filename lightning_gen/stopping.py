"""How a run ends that was asked to stop: after a whole step, saved, with an exit code that says why."""

import os
import signal


class Stopped(SystemExit):
    """Ends a run that a signal asked to stop and that has saved its state.

    Arguments:
        signum: The signal. The exit code is 128 and its number, as shells have it: 130 for SIGINT,
            138 for SIGUSR1, 143 for SIGTERM.
        step: The last global step, which the checkpoint holds.
    """

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(128 + signum)
        self.signum, self.step = signum, step

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name} after step {self.step}"


def exit_code(stop: Stopped) -> int:
    """128 and the signal; 0 for a process that Lightning launched, which takes others for crashes."""
    launched = os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ
    return 0 if launched and "SLURM_PROCID" not in os.environ else int(stop.code or 0)
