"""A whole model in one process, called in a loop: nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.peers.arguments import line_parser
from bench.peers.conversation import Conversation, FlatOut, lead, load_input, one_after_another
from models.library import Library
from models.runtime import load_stage
from schemas.codec import Array
from schemas.model import ModelCard


@dataclass
class Whole:
    """A call that gives the answer to the line's input."""

    infer: Callable[[], Array]

    def flat_out(self, seconds: float) -> FlatOut:
        """One call after the other."""
        return one_after_another(self.infer, seconds)


def main() -> None:
    """`python -m bench.peers.whole_program --library DIR --model NAME --input FILE --runtime NAME [--threads N]`."""
    parser = line_parser()
    parser.add_argument("--runtime", choices=("torch", "onnxruntime"), required=True)
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime; PyTorch is told by a command")
    options = parser.parse_args()
    conversation = Conversation()
    library = Library(options.library)
    card = library.card(options.model)
    tensor = load_input(options.input)
    if options.runtime == "torch":
        infer, use_threads = _torch(card, tensor)
    else:
        infer, use_threads = _onnxruntime(card, library, tensor, options.threads), _as_they_are
    infer()
    conversation.say(ready=True)
    lead(conversation, Whole(infer), use_threads)


def _torch(card: ModelCard, tensor: Array) -> tuple[Callable[[], Array], Callable[[int], None]]:
    import torch  # noqa: PLC0415 - the other runtime needs none of its 300 MB

    from bench.peers.torch_split import whole_module  # noqa: PLC0415 - as above

    by_itself = torch.get_num_threads()
    module = whole_module(card)
    example = torch.from_numpy(tensor)

    def infer() -> Array:
        with torch.inference_mode():
            answer: Array = module(example).numpy()
            return answer

    return infer, lambda count: torch.set_num_threads(count or by_itself)


def _as_they_are(_count: int) -> None:
    """ONNX Runtime's sessions have theirs for good."""


def _onnxruntime(card: ModelCard, library: Library, tensor: Array, threads: int) -> Callable[[], Array]:
    runner = load_stage(card, library.blobs, 0, len(card.blocks), threads=threads)
    feed, answer = card.inputs[0].name, card.outputs[0].name
    return lambda: runner.run({feed: tensor})[answer]


if __name__ == "__main__":
    main()
