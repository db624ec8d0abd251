"""CaffeNet: AlexNet (Krizhevsky et al. 2012) as Caffe's reference model has it, pools before norms."""

from benchmarks.networks.graph import Graph, Tensor
from benchmarks.networks.operators import dropout, flatten, lrn, max_pool, relu
from benchmarks.networks.weighted import conv, dense


def caffenet(g: Graph, x: Tensor) -> Tensor:
    """Class probabilities; groups of two, local response normalisation."""
    x = max_pool(g, relu(g, conv(g, x, 96, 11, stride=4)), 3, stride=2)
    x = relu(g, conv(g, lrn(g, x), 256, 5, padding=2, groups=2))
    x = lrn(g, max_pool(g, x, 3, stride=2))
    x = relu(g, conv(g, x, 384, 3, padding=1))
    x = relu(g, conv(g, x, 384, 3, padding=1, groups=2))
    x = relu(g, conv(g, x, 256, 3, padding=1, groups=2))
    x = flatten(g, max_pool(g, x, 3, stride=2))
    for _ in range(2):
        x = dropout(g, relu(g, dense(g, x, 4096)))
    return dense(g, x, 1000)
