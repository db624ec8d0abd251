"""Functions of whole vectors of floats, without calls: LLVM would call libm once for every lane.

Exponential and logarithm are the polynomials of Moshier's Cephes library (``expf``, ``logf``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm import tirx

from network.kernels import emit
from network.kernels.emit import Expr
from network.unary import Unary

_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""Their sum is ln 2; the first has so few digits that its product with an exponent is exact."""
_MANTISSA_BITS = 23
_SHIFTED_ZERO_BITS = 0x4B400000
"""Of 1.5 * 2**23 in float32."""
_SQRT_HALF_BITS = 0x3F3504F3


def apply(function: Unary, value: Expr, lanes: int) -> Expr:
    """The function of every lane."""
    constants = (emit.constant(each, "float32", lanes) for each in function.constants)
    return _FUNCTIONS[function.function](value, lanes, *constants)


def exp(value: Expr, lanes: int) -> Expr:
    """``e ** value``; it saturates at ``e ** -87`` and ``e ** 88``, where float32 ends."""
    bounded = emit.maximum(emit.minimum(value, _float(88.0, lanes)), _float(-87.0, lanes))
    whole = emit.bind(_rounded(bounded * _float(1.44269504088896341, lanes), lanes))
    power = emit.bind(emit.cast(whole, "float32", lanes))
    rest = emit.bind(bounded - power * _float(_LN2_HIGH, lanes) - power * _float(_LN2_LOW, lanes))
    fraction = _polynomial(_EXP, rest, lanes) * rest * rest + rest + _float(1.0, lanes)
    exponent = whole + emit.constant(127, "int32", lanes)
    return fraction * _bits_as_float(exponent * emit.constant(1 << _MANTISSA_BITS, "int32", lanes), lanes)


def _rounded(value: Expr, lanes: int) -> Expr:
    """To the nearest integers, of values below 2**22 either way.

    Where the sum lies floats have no fractions, and their lowest bits count. Without an instruction for
    rounding LLVM would call libm for every element.
    """
    bits = emit.reinterpret(value + _float(1.5 * (1 << 23), lanes), _vector("int32", lanes))
    return bits - emit.constant(_SHIFTED_ZERO_BITS, "int32", lanes)


def log(value: Expr, lanes: int) -> Expr:
    """The natural logarithm of a positive normal number."""
    bits = emit.bind(emit.reinterpret(value, _vector("int32", lanes)))
    above = bits - emit.constant(_SQRT_HALF_BITS, "int32", lanes)
    power = emit.bind(tirx.shift_right(above, emit.constant(_MANTISSA_BITS, "int32", lanes)))
    scale = power * emit.constant(1 << _MANTISSA_BITS, "int32", lanes)
    rest = emit.bind(_bits_as_float(bits - scale, lanes) - _float(1.0, lanes))
    square = emit.bind(rest * rest)
    near = _polynomial(_LOG, rest, lanes) * rest * square - _float(0.5, lanes) * square + rest
    exponent = emit.bind(emit.cast(power, "float32", lanes))
    return near + exponent * _float(_LN2_LOW, lanes) + exponent * _float(_LN2_HIGH, lanes)


def _polynomial(coefficients: Sequence[float], value: Expr, lanes: int) -> Expr:
    total = _float(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        total = total * value + _float(coefficient, lanes)
    return total


def _bits_as_float(bits: Expr, lanes: int) -> Expr:
    return emit.reinterpret(bits, _vector("float32", lanes))


def _vector(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def _float(value: float, lanes: int) -> Expr:
    return emit.constant(value, "float32", lanes)


def _bounded(value: Expr, low: Expr, high: Expr) -> Expr:
    return emit.minimum(emit.maximum(value, low), high)


def _affine(value: Expr, _: int, scale: Expr, shift: Expr) -> Expr:
    return value * scale + shift


def _clip(value: Expr, _: int, low: Expr, high: Expr) -> Expr:
    return _bounded(value, low, high)


def _elu(value: Expr, lanes: int, alpha: Expr) -> Expr:
    zero = _float(0.0, lanes)
    below = exp(emit.minimum(value, zero), lanes) - _float(1.0, lanes)
    return emit.maximum(value, zero) + alpha * below


def _hard_sigmoid(value: Expr, lanes: int, alpha: Expr, beta: Expr) -> Expr:
    return _bounded(value * alpha + beta, _float(0.0, lanes), _float(1.0, lanes))


def _hard_swish(value: Expr, lanes: int) -> Expr:
    return value * _hard_sigmoid(value, lanes, _float(1 / 6, lanes), _float(0.5, lanes))


def _leaky_relu(value: Expr, lanes: int, alpha: Expr) -> Expr:
    zero = _float(0.0, lanes)
    return emit.maximum(value, zero) + alpha * emit.minimum(value, zero)


def _sigmoid(value: Expr, lanes: int) -> Expr:
    one = _float(1.0, lanes)
    return one / (one + exp(_float(0.0, lanes) - value, lanes))


def _silu(value: Expr, lanes: int) -> Expr:
    return value * _sigmoid(value, lanes)


def _tanh(value: Expr, lanes: int) -> Expr:
    one, two = _float(1.0, lanes), _float(2.0, lanes)
    return one - two / (one + exp(two * value, lanes))


_FUNCTIONS: Mapping[str, Callable[..., Expr]] = {
    "affine": _affine,
    "clip": _clip,
    "elu": _elu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "tanh": _tanh,
}
