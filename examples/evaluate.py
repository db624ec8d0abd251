"""The accuracy of an exported example network on the 10,000 test images, through ONNX Runtime.

`python -m examples.evaluate cifar10_quick` (needs onnxruntime: the extra `bench` or `test`).
"""

import argparse
from pathlib import Path

import numpy as np

from examples.data import PREPARED_FOLDER, Samples, network_input

EXAMPLES = Path(__file__).parent


def accuracy(model: Path, samples: Samples) -> float:
    """Fraction of the samples whose highest score is that of their class; one image at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    images = network_input(samples.x)[:, np.newaxis]
    predicted = [session.run(None, {name: image})[0].argmax() for image in images]
    return float(np.mean(np.equal(predicted, samples.y)))


def main() -> None:
    """Print the accuracy of one example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=["cifar10_quick", "vgg16"])
    network = parser.parse_args().network
    evaluation = Samples.load(PREPARED_FOLDER / "evaluation.npz")
    reached = accuracy(EXAMPLES / network / "model.onnx", evaluation)
    print(f"{network}: {reached:.2%} of {len(evaluation.y):,} test images")


if __name__ == "__main__":
    main()
