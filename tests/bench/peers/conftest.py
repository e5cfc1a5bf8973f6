import textwrap

import pytest

from models.importer import import_model
from models.library import Library
from stageline.emulation.fleet_file import FleetDevice, FleetFile

FACTORY = """
    import torch
    from torch import nn

    class Skipping(nn.Module):
        input_shape = (1, 3, 16, 16)

        def __init__(self):
            super().__init__()
            self.begin = nn.Conv2d(3, 8, 3, padding=1)
            self.around = nn.Conv2d(8, 8, 3, padding=1)
            self.again = nn.Conv2d(8, 8, 3, padding=1)
            self.more = nn.Conv2d(8, 16, 3, padding=1)
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            size = x.size(0)
            x = torch.relu(self.begin(x))
            x = torch.relu(x + self.again(torch.relu(self.around(x))))
            x = torch.relu(self.more(x))
            # The size is asked early, and used late.
            return self.head(x.mean((2, 3)).view(size, -1))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model with a skip, of a module of its own: the library it is in, and its card."""
    folder = tmp_path_factory.mktemp("peers")
    (folder / "tiny_peer_net.py").write_text(textwrap.dedent(FACTORY))
    with pytest.MonkeyPatch.context() as patch:
        # Peers build the module in processes of their own.
        patch.setenv("PYTHONPATH", str(folder))
        patch.syspath_prepend(str(folder))
        library = Library(folder / "library")
        yield library, import_model("tiny_peer_net:Skipping", library, name="tiny")


@pytest.fixture(scope="session")
def pair():
    """Two unequal devices."""
    return FleetFile(
        name="pair", scale=0.5, device=(FleetDevice(name="big", cores=1.0), FleetDevice(name="small", cores=0.6))
    )
