"""What a charge point has to say: two queues, and which message may go now.

Transaction messages stay, in order, through cuts and reboots until they are answered; all others
are forgotten when the connection goes.
"""

from collections import deque
from collections.abc import Iterable

from simulators.model import Message, Session

VOLATILE_MAX = 10_000  # the oldest go first: nobody is there to hear them


class Outbox:
    """`duplicate_every`: each n-th transaction message is to be written twice; 0: none."""

    def __init__(self, duplicate_every: int = 0) -> None:
        self._durable: deque[Message] = deque()
        self._volatile: deque[Message] = deque(maxlen=VOLATILE_MAX)
        self._durable_count = 0
        self._duplicate_every = duplicate_every

    @property
    def unanswered(self) -> int:
        """Messages that wait for their answer."""
        return len(self._durable) + len(self._volatile)

    @property
    def durable_unanswered(self) -> int:
        """Transaction messages that wait for their answer."""
        return len(self._durable)

    def durable_of(self, session: Session | None) -> int:
        """Transaction messages that wait, of one session only unless None."""
        return sum(session in (None, message.session) for message in self._durable)

    def add(self, message: Message) -> None:
        """Append to the queue that the message belongs to."""
        if not message.durable:
            self._volatile.append(message)
            return
        self._durable_count += 1
        every = self._duplicate_every
        message.twice = bool(every) and self._durable_count % every == 0
        self._durable.append(message)

    def add_first(self, message: Message) -> None:
        """Before all else that concerns no transaction."""
        self._volatile.appendleft(message)

    def add_all(self, messages: Iterable[Message]) -> None:
        """Append each."""
        for message in messages:
            self.add(message)

    def forget(self) -> None:
        """The connection is gone: only transaction messages are kept."""
        self._volatile.clear()

    def remove(self, message: Message) -> None:
        """Take an answered message out; a late answer finds it gone."""
        for queue in (self._volatile, self._durable):
            if message in queue:
                queue.remove(message)
                return

    def next(self, *, accepted: bool, on_hold: bool) -> Message | None:
        """The message to send now.

        accepted: the central system took the boot. on_hold: it said Pending; then only what its
        orders called for may go, beside the boot itself.
        """
        if accepted:
            return self._volatile[0] if self._volatile else next(iter(self._durable), None)
        for message in self._volatile:
            if message.action == "BootNotification" or (on_hold and message.called_for):
                return message
        return None
