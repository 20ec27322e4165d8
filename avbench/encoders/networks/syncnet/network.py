"""SyncNet v2: one branch for five frames of a face, one for 0.2 s of sound. Imports torch.

Source: Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016; checkpoint
`syncnet_v2.model` of joonson/syncnet_python.
"""

from __future__ import annotations

from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.weights.locate import files

ROW = "syncnet_v2"
EMBEDDING = 1024


class SyncNet(nn.Module):
    """Embeddings of lips and of sound that lie near each other where both belong together.

    Args:
        divisor: 1 for the published network; more divides every channel count.
    """

    def __init__(self, divisor: int = 1) -> None:
        super().__init__()
        first, second, third, fourth, last = (size // divisor for size in (64, 192, 384, 256, 512))
        self.netcnnaud = nn.Sequential(
            *_unit(nn.Conv2d(1, first, 3, padding=1)),
            # Takes each value by itself: there so that the numbers of the layers fit.
            nn.MaxPool2d(1, 1),
            *_unit(nn.Conv2d(first, second, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_unit(nn.Conv2d(second, third, 3, padding=1)),
            *_unit(nn.Conv2d(third, fourth, 3, padding=1)),
            *_unit(nn.Conv2d(fourth, fourth, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_unit(nn.Conv2d(fourth, last, (5, 4))),
        )
        wide = 96 // divisor
        self.netcnnlip = nn.Sequential(
            *_unit(nn.Conv3d(3, wide, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_unit(nn.Conv3d(wide, fourth, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_unit(nn.Conv3d(fourth, fourth, (1, 3, 3), padding=(0, 1, 1))),
            *_unit(nn.Conv3d(fourth, fourth, (1, 3, 3), padding=(0, 1, 1))),
            *_unit(nn.Conv3d(fourth, fourth, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_unit(nn.Conv3d(fourth, last, (1, 6, 6))),
        )
        self.netfcaud = _head(last, EMBEDDING // divisor)
        self.netfclip = _head(last, EMBEDDING // divisor)

    def sound(self, coefficients: Tensor) -> Tensor:
        """(B, 1, 13, 20) -> (B, 1024): 13 coefficients at 20 steps of 10 ms."""
        embeddings: Tensor = self.netfcaud(self.netcnnaud(coefficients).flatten(1))
        return embeddings

    def lips(self, faces: Tensor) -> Tensor:
        """(B, 3, 5, 224, 224) -> (B, 1024): five frames, BGR, 0 to 255."""
        embeddings: Tensor = self.netfclip(self.lip_features(faces))
        return embeddings

    def lip_features(self, faces: Tensor) -> Tensor:
        """What the head of the lips reads, (B, 512)."""
        features: Tensor = self.netcnnlip(faces).flatten(1)
        return features


def _unit(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, nn.Module, nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return convolution, norm(convolution.out_channels), nn.ReLU()


def _head(width: int, embedding: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, embedding))


def load(context: LoadContext) -> SyncNet:
    """The network with its weights, on its device."""
    network = SyncNet(divisor=16 if context.setup.reduced else 1)
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        (path,) = files(ROW, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    to_device(network, context)
    return network
