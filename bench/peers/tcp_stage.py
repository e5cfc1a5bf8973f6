"""One stage between two bare TCP connections: our own runtime without broker, planner, receipts or retries."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence

from bench.peers.arguments import model_parser
from bench.peers.conversation import Conversation
from bench.peers.tcp_frames import connect, listen, receive, send
from broker.heap import keep_freed_memory
from models.library import Library
from models.runtime import StageRunner, load_stage
from schemas.codec import Array
from schemas.model import TensorSpec


def main() -> None:
    """`python -m bench.peers.tcp_stage --library DIR --model NAME --first N --last N --threads N --next ROLE`."""
    parser = model_parser()
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--next", required=True, help="who takes what this one makes: ROLE, or 0:DOOR of the front")
    options = parser.parse_args()
    conversation = Conversation()
    keep_freed_memory()
    library = Library(options.library)
    runner = load_stage(
        library.card(options.model), library.blobs, options.first, options.last, threads=options.threads
    )
    server, port = listen()
    conversation.say(ports=[port])
    commands = conversation.commands()
    role, _, door = options.next.partition(":")
    following = connect(next(commands)["ports"][int(role)][int(door or 0)])
    conversation.say(connected=True)
    threading.Thread(target=_serve, args=(runner, server, following), daemon=True).start()
    for _ in commands:
        pass


def _serve(runner: StageRunner, server: socket.socket, following: socket.socket) -> None:
    """Compute on one thread while another receives, so that the next request is here when this one is done."""
    before, _ = server.accept()
    waiting: queue.SimpleQueue[dict[str, Array] | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(before, runner.inputs, waiting), daemon=True).start()
    while (tensors := waiting.get()) is not None:
        send(following, runner.outputs, runner.run(tensors))
    following.close()


def _receive(
    before: socket.socket, specs: Sequence[TensorSpec], waiting: queue.SimpleQueue[dict[str, Array] | None]
) -> None:
    try:
        while True:
            waiting.put(receive(before, specs))
    except ConnectionError:
        waiting.put(None)


if __name__ == "__main__":
    main()
