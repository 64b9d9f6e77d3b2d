"""Signals that ask a run to stop, and how all its processes come to stop after the same step.

A handler only takes a note. At the end of a step the note is looked at; with several processes, any
of which may have been asked, a thread of each passes it on through the key-value store by which the
processes found each other. No step has a collective for it:

1. who is asked writes the signal into the store; each process looks there a few times a second;
2. each says which step's end it will reach next, and passes that only when it knows the others';
3. the latest of these is where all stop. None is further, since none passed what it had said.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from lightning_gen.stopping import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
POLL = 0.2  # seconds between two looks at the store
PARTING = 5.0  # seconds for the thread to end
PATIENCE = 60.0  # seconds for a process to answer; one that does not is dead


class Signals:
    """Notes that the run should stop, and says when.

    A second SIGINT stops at once, as Ctrl-C does elsewhere.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.quiet = False  # see `Stopped`
        self._interrupts = 0
        self._passed = 0  # ends of steps
        self._saved = False  # whether all there is is in a checkpoint, as during an evaluation
        self._step = 0
        self._before: dict[int, Any] = {}
        self._store: Any = None
        self._rank, self._world = 0, 1
        self._said: int | None = None  # the end of a step that this process will reach next
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._awake: socket.socket | None = None

    # Installing

    def install(self, trainer: Trainer) -> None:
        """Takes the place of Lightning's handlers, which exit with 0 or hang, until `restore`."""
        if threading.current_thread() is not threading.main_thread():
            return
        # Its loop would also broadcast, and wait for, a flag on each step.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        self._rank, self._world = trainer.global_rank, trainer.world_size
        self._process = os.getpid()
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        # Lightning takes any other exit code of those that it launched for a crash.
        launched = isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)
        environment = getattr(trainer.strategy, "cluster_environment", None)
        self.quiet = launched and isinstance(environment, LightningEnvironment) and self._rank > 0
        if self._world > 1:
            store: Any = torch.distributed.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined]
            # A later fit of the same processes has nothing to do with this one.
            count = store.add(f"lightning_gen/fits/{self._rank}", 1)
            self._store = torch.distributed.PrefixStore(f"lightning_gen/stop/{count}", store)
            self._store.set_timeout(timedelta(seconds=PATIENCE))
            # A handler waits for the main thread, which may be in a collective; the thread does not.
            self._heard, awake = socket.socketpair()
            self._heard.settimeout(POLL)
            awake.setblocking(False)
            self._awake = awake
            self._wakes = signal.set_wakeup_fd(awake.fileno(), warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
            self._thread.start()

    def restore(self) -> None:
        """Puts back what was there before."""
        self._over.set()
        if self._awake is not None:
            signal.set_wakeup_fd(self._wakes)
            self._awake.send(b"\0")
            self._thread.join(PARTING)  # a thread that is in the store aborts a process that ends
            self._awake = None
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a process that loads data has inherited the handler
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self.received = self.received or number
        if self._saved and self._world == 1:
            raise Stopped(number, self._step, self.quiet)  # nothing to wait for
        if number == signal.SIGINT and self._rank == 0:  # `print` may be what was interrupted
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    # Asking

    def due(self) -> int | None:
        """To be called at the end of each step: the signal, if all processes are to stop here."""
        with self._lock:  # the thread must not say that this end comes next when it has passed
            self._passed += 1
            if self._world == 1 or (self.received is None and self._said is None):
                return self.received
        return self._agreed()

    def saved(self, step: int) -> None:
        """To be called when a checkpoint holds all there is, until `working` is."""
        self._step, self._saved = step, True
        if self.received is not None and self._world == 1:
            raise Stopped(self.received, step, self.quiet)

    def working(self) -> None:
        """To be called when there is something to lose again."""
        self._saved = False

    # Several processes

    def _agreed(self) -> int | None:
        self._pass_on()
        self._say(ahead=0)
        last = max(int(answer.split()[0]) for answer in self._answers())
        return int(self._store.get("signal")) if last == self._passed else None

    def _watch(self) -> None:
        """What the thread does: passes the signal on, or finds it, and answers for this process."""
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                heard = self._heard.recv(1)
                if heard and heard[0] in SIGNALS:
                    self.received = self.received or heard[0]
            try:
                if self.received is not None:
                    self._pass_on()
                elif not self._store.check(["signal"]):
                    continue
                self._say(ahead=1)
                answers = self._answers()
            except RuntimeError:
                return  # the others are gone, which the main thread will meet as well
            if len(set(answers)) == 1 and answers[0].endswith("saved"):
                self._store.set(f"left/{self._rank}", "")
                self._leave()
            return

    def _pass_on(self) -> None:
        if self.received is not None:
            self._store.compare_set("signal", "", str(int(self.received)))

    def _say(self, ahead: int) -> None:
        with self._lock:  # the thread and the main thread may both be about to
            if self._said is None:
                self._said = self._passed + ahead
                state = "saved" if self._saved else "working"
                self._store.set(f"answers/{self._rank}", f"{self._said} {state}")

    def _answers(self) -> list[str]:
        keys = [f"answers/{rank}" for rank in range(self._world)]
        self._store.wait(keys)
        return [self._store.get(key).decode() for key in keys]

    def _leave(self) -> None:
        """Ends the process in the middle of an evaluation that all are in: nothing is lost by it."""
        number = int(self._store.get("signal"))
        stop = Stopped(number, self._step, self.quiet)
        if self._rank == 0:
            print(f"{stop}, in the evaluation after it", file=sys.stderr, flush=True)
        sys.stdout.flush()
        if self._rank == 0:  # which may keep the store, where the others still have to read
            with contextlib.suppress(RuntimeError):
                every = [f"left/{rank}" for rank in range(self._world)]
                self._store.wait(every, timedelta(seconds=PARTING))
        os._exit(int(stop.code or 0))
