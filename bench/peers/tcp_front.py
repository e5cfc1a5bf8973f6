"""Who asks, on bare TCP: shares requests among routes of stages, least loaded first. A whole copy is a route of one."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.peers.arguments import line_parser
from bench.peers.conversation import Conversation, FlatOut, lead, load_input
from bench.peers.tcp_frames import connect, listen, receive, send
from broker.heap import keep_freed_memory
from models.library import Library
from schemas.codec import Array
from schemas.model import ModelCard

PER_STAGE: Final = 2
"""Requests in flight for every stage of a route: one is computed while the next one is on its way."""


@dataclass
class _Route:
    first: socket.socket
    last: socket.socket
    window: int
    flying: int = 0


class Front:
    """Holds the routes' ends. Answers of one route come in the order of its requests, so frames need no number."""

    def __init__(self, card: ModelCard, tensor: Array, routes: list[_Route]) -> None:
        self._card = card
        self._input = {card.inputs[0].name: tensor}
        self._routes = routes
        self._sent = 0
        self._answers = selectors.DefaultSelector()
        for route in routes:
            self._answers.register(route.last, selectors.EVENT_READ, route)

    def infer(self) -> Array:
        """One request by the first route, the fastest device's."""
        self._send(self._routes[0])
        return self._receive(self._routes[0])

    def flat_out(self, seconds: float) -> FlatOut:
        """Every route's window kept full."""
        sent_before = self._sent
        while (route := self._free_route()) is not None:
            self._send(route)
        # Until every window has turned over once, the line is filling.
        for _ in range(self._sent - sent_before):
            self._turn()
        started = time.perf_counter()
        answered = 0
        while (wall := time.perf_counter() - started) < seconds:
            answered += self._turn()
        while any(route.flying for route in self._routes):
            self._next_answers()
        return FlatOut(answered, wall, self._sent - sent_before)

    def _turn(self) -> int:
        """Wait for answers, and send as many requests."""
        came = self._next_answers()
        for _ in range(came):
            route = self._free_route()
            if route is not None:
                self._send(route)
        return came

    def _next_answers(self) -> int:
        ready = self._answers.select()
        for key, _ in ready:
            self._receive(key.data)
        return len(ready)

    def _free_route(self) -> _Route | None:
        free = [route for route in self._routes if route.flying < route.window]
        return min(free, key=lambda route: route.flying / route.window, default=None)

    def _send(self, route: _Route) -> None:
        send(route.first, self._card.inputs, self._input)
        route.flying += 1
        self._sent += 1

    def _receive(self, route: _Route) -> Array:
        answer = receive(route.last, self._card.outputs)
        route.flying -= 1
        return answer[self._card.outputs[0].name]


def main() -> None:
    """`python -m bench.peers.tcp_front --library DIR --model NAME --input FILE --routes 1,2,3`: stages per route."""
    parser = line_parser()
    parser.add_argument("--routes", required=True, help="number of stages of each route; roles follow in that order")
    options = parser.parse_args()
    conversation = Conversation()
    keep_freed_memory()
    card = Library(options.library).card(options.model)
    stages = [int(count) for count in options.routes.split(",")]
    # One door per route: which route an answer comes by is known by where it comes in.
    doors = [listen() for _ in stages]
    conversation.say(ports=[port for _, port in doors])
    ports = next(conversation.commands())["ports"]
    routes = []
    role = 1
    for count in stages:
        routes.append((connect(ports[role][0]), count))
        role += count
    conversation.say(connected=True)
    lasts = [server.accept()[0] for server, _ in doors]
    front = Front(
        card,
        load_input(options.input),
        [_Route(first, last, PER_STAGE * count) for (first, count), last in zip(routes, lasts, strict=True)],
    )
    lead(conversation, front)


if __name__ == "__main__":
    main()
