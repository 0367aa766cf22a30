"""The load generator: devices that send what was encoded before, as fast as they are acknowledged.

A PUBACK has four bytes, so that counting acknowledgements is counting bytes; that they were the right ones, and came
in the order of their PUBLISHes, is looked at after the clock has stopped.

A broker sends each PUBACK in a segment of its own. Waking for each of them takes as much of the machine as what is
measured, so that the kernel may keep them until some of a connection's window is acknowledged (socket(7), SO_RCVLOWAT),
by default half of it: that is one read, and one write of the next half. Were it the whole window, a broker would have
to wait for it.
"""

import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from devices.errors import Retryable
from gateway.bench.packets import Stream, packet_id

ANSWER_TIMEOUT_S: Final = 60.0
_CONNACK_BYTES: Final = 4
_PUBACK_BYTES: Final = 4
_READ_BYTES: Final = 65_536
_PACE_S: Final = 0.002
_CONNECT_BURST: Final = 100


def window_of(in_flight: int, connections: int) -> int:
    """Packets that each connection may have unacknowledged, where all together may have so many."""
    return max(in_flight // connections, 1)


def half_of(window: int) -> int:
    """Half of a window's packets, or a bit more."""
    return (window + 1) // 2


class LoadFailed(Retryable):
    """The other side did not acknowledge what it was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_acknowledged", detail)


@dataclass(slots=True)
class _Line:
    """One connection, and how far it has come."""

    socket: socket.socket
    stream: Stream
    packets: memoryview
    answers: bytearray = field(default_factory=bytearray)
    sent: int = 0  # bytes
    is_blocked: bool = False
    wakes_at: int = 1  # bytes of acknowledgements

    @property
    def acknowledged(self) -> int:
        return len(self.answers) // _PUBACK_BYTES

    def wake_when(self, acknowledged: int) -> None:
        """Wake no sooner than so many packets more are acknowledged, or all that are left."""
        left = len(self.stream.ends) - self.acknowledged
        wakes_at = max(min(acknowledged, left) * _PUBACK_BYTES, 1)
        if wakes_at != self.wakes_at:
            self.wakes_at = wakes_at
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wakes_at)


class Senders:
    """Connected devices; use as a context manager."""

    def __init__(self, host: str, port: int, streams: Iterable[Stream]) -> None:
        """Connect, a few at a time, and wait until every device was let in. Raises LoadFailed."""
        self._lines: dict[int, _Line] = {}
        self._poll = select.epoll()
        waiting: list[_Line] = []
        try:
            for stream in streams:
                line = _Line(
                    socket.create_connection((host, port), ANSWER_TIMEOUT_S), stream, memoryview(stream.publishes)
                )
                line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._lines[line.socket.fileno()] = line
                line.socket.sendall(stream.connect)
                waiting.append(line)
                if len(waiting) == _CONNECT_BURST:
                    _let_in(waiting)
            _let_in(waiting)
        except OSError as error:
            self.close()
            raise LoadFailed(f"connecting: {error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        for line in self._lines.values():
            line.socket.close()
        self._poll.close()

    def run(self, window: int, per_s: float | None = None, *, wakes_after: int | None = None) -> float:
        """Send everything, each connection with up to `window` packets unacknowledged; the seconds that it took.

        A connection sends on when `wakes_after` packets more are acknowledged, None for half a window. `per_s` bounds
        the rate of all together: then connections take turns, with as many packets in each turn, if the window allows.
        Raises LoadFailed when acknowledgements are wrong, or missing.
        """
        total = sum(len(line.stream.ends) for line in self._lines.values())
        start_s = time.perf_counter()
        for line in self._lines.values():
            self._poll.register(line.socket.fileno(), select.EPOLLIN)
        together = min(wakes_after or half_of(window), window)
        if per_s is None:
            self._run_freely(total, window, together)
        else:
            self._run_paced(total, window, together, per_s)
        took_s = time.perf_counter() - start_s
        for line in self._lines.values():
            _check(line)
        return took_s

    def _run_freely(self, total: int, window: int, wakes_after: int) -> None:
        """Each connection sends a window, and as much again as is acknowledged whenever that is `wakes_after`."""
        for line in self._lines.values():
            line.wake_when(wakes_after)
            self._send(line, window)
        done = 0
        while done < total:
            ready = self._poll.poll(ANSWER_TIMEOUT_S)
            if not ready:
                raise LoadFailed(
                    f"{done} of {total} packets were acknowledged, then nothing for {ANSWER_TIMEOUT_S:g} s"
                )
            for fd, events in ready:
                line = self._lines[fd]
                if events & ~select.EPOLLOUT:
                    done += _receive(line)
                    line.wake_when(wakes_after)
                self._send(line, line.acknowledged + window)

    def _run_paced(self, total: int, window: int, together: int, per_s: float) -> None:
        lines = list(self._lines.values())
        due = dict.fromkeys(self._lines, 0)  # packets that each may have sent by now
        for line in lines:
            line.wake_when(together)
        done = turns = 0
        start_s = heard_s = time.perf_counter()
        while done < total:
            for fd, events in self._poll.poll(_PACE_S):
                line = self._lines[fd]
                if events & ~select.EPOLLOUT:
                    done += _receive(line)
                    line.wake_when(together)
                    heard_s = time.perf_counter()
                self._send(line, min(due[fd], line.acknowledged + window))
            now_s = time.perf_counter()
            if now_s - heard_s > ANSWER_TIMEOUT_S:
                raise LoadFailed(
                    f"{done} of {total} packets were acknowledged, then nothing for {ANSWER_TIMEOUT_S:g} s"
                )
            before, turns = turns, int((now_s - start_s) * per_s) // together
            for turn in range(before, turns):
                line = lines[turn % len(lines)]
                fd = line.socket.fileno()
                due[fd] += together
                self._send(line, min(due[fd], line.acknowledged + window))

    def _send(self, line: _Line, until: int) -> None:
        """Send up to packet number `until`, as far as the socket takes it."""
        ends = line.stream.ends
        end = ends[min(until, len(ends)) - 1] if until else 0
        if line.sent >= end:
            return
        try:
            line.sent += line.socket.send(line.packets[line.sent : end], socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError as error:
            raise LoadFailed(f"sending: {error}") from error
        is_blocked = line.sent < end
        if is_blocked != line.is_blocked:
            line.is_blocked = is_blocked
            self._poll.modify(line.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if is_blocked else 0))


def _let_in(waiting: list[_Line]) -> None:
    for line in waiting:
        answer = line.socket.recv(_CONNACK_BYTES, socket.MSG_WAITALL)
        if len(answer) < _CONNACK_BYTES or answer[3] != 0:
            raise LoadFailed(f"a CONNECT was answered with {answer.hex() or 'nothing'}")
    waiting.clear()


def _receive(line: _Line) -> int:
    """Take acknowledgements in; how many packets they are more."""
    before = line.acknowledged
    try:
        data = line.socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise LoadFailed(f"receiving: {error}") from error
    if not data:
        raise LoadFailed("the other side hung up")
    line.answers += data
    return line.acknowledged - before


def _check(line: _Line) -> None:
    if bytes(line.answers) != acknowledgements(len(line.stream.ends)):
        raise LoadFailed("what came back were not the PUBACKs in the order of their PUBLISHes")


def acknowledgements(count: int) -> bytes:
    """The PUBACKs that `count` PUBLISHes are owed."""
    return b"".join(b"\x40\x02" + packet_id(number).to_bytes(2, "big") for number in range(count))
