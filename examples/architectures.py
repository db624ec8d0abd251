"""The example networks as torch modules; every child's name becomes the name of its ONNX node."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

VGG16_BLOCKS = ((16, 16), (32, 32), (64, 64, 64), (128, 128, 128), (128, 128, 128))


def cifar10_quick() -> nn.Sequential:
    """CIFAR-10-quick of Caffe (examples/cifar10/cifar10_quick_train_test.prototxt) for one grey channel.

    Input (n, 1, 28, 28). The first convolution pads by 4 where Caffe's pads by 2, so 28x28 gives the 32x32
    of CIFAR-10. Caffe rounds pooled sizes up: 32, 16, 8, 4.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 32, 5, padding=4),
            pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 32, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.AvgPool2d(3, 2, ceil_mode=True),
            conv3=nn.Conv2d(32, 64, 5, padding=2),
            relu3=nn.ReLU(),
            pool3=nn.AvgPool2d(3, 2, ceil_mode=True),
            flatten=nn.Flatten(),
            ip1=nn.Linear(64 * 4 * 4, 64),
            ip2=nn.Linear(64, 10),
        )
    )


def vgg16() -> nn.Sequential:
    """VGG-16 (Simonyan, Zisserman 2015, column D) at width 1/4, batch-normalised, for one grey channel.

    Input (n, 1, 28, 28). The first convolution pads by 3 where VGG's pads by 1, so 28x28 gives 32x32.
    """
    layers: OrderedDict[str, Any] = OrderedDict()
    previous = 1
    for block, widths in enumerate(VGG16_BLOCKS, start=1):
        for position, width in enumerate(widths, start=1):
            name = f"{block}_{position}"
            padding = 3 if name == "1_1" else 1
            layers[f"conv{name}"] = nn.Conv2d(previous, width, 3, padding=padding, bias=False)
            layers[f"bn{name}"] = nn.BatchNorm2d(width)
            layers[f"relu{name}"] = nn.ReLU()
            previous = width
        layers[f"pool{block}"] = nn.MaxPool2d(2, 2)
    return nn.Sequential(OrderedDict(**layers, **_vgg16_head(previous)))


def _vgg16_head(features: int) -> OrderedDict[str, Any]:
    return OrderedDict(
        flatten=nn.Flatten(),
        fc6=nn.Linear(features, 128),
        relu6=nn.ReLU(),
        fc7=nn.Linear(128, 128),
        relu7=nn.ReLU(),
        fc8=nn.Linear(128, 10),
    )


ARCHITECTURES: dict[str, Callable[[], nn.Sequential]] = {"cifar10_quick": cifar10_quick, "vgg16": vgg16}
