"""Complex numbers and Fourier transforms; TensorFlow has them in double precision, too."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals


def _complex(*shape, seed=0):
    return reals(*shape, seed=seed) + 1j * reals(*shape, seed=seed + 1)


def record(case):
    raw = tf.raw_ops
    z, w = _complex(2, 3), _complex(2, 3, seed=5)
    for kind in (np.complex128, np.complex64):
        name = np.dtype(kind).name
        case(
            f"ComplexAbs/{name}", lambda x, k=kind: raw.ComplexAbs(x=x, Tout=tf.as_dtype(k).real_dtype), z.astype(kind)
        )
        case(f"Real and Imag/{name}", lambda x: (tf.math.real(x), tf.math.imag(x), tf.math.angle(x)), z.astype(kind))
    case("Complex", lambda x, y: raw.Complex(real=x, imag=y, Tout=tf.complex128), reals(2, 3), reals(3))
    case("Conj", lambda x: tf.math.conj(x), z)
    case(
        "complex arithmetic",
        lambda x, y: (x + y, x * y, x / y, x - y, -x, tf.reduce_sum(x, 1), tf.reduce_mean(x)),
        z,
        w,
    )
    case("complex matrices", lambda x, y: tf.matmul(x, y, adjoint_b=True), z, w)
    case("complex constants", lambda x: x * tf.constant([1 + 2j, 3, -1j], tf.complex128), z)
    case("complex casts", lambda x, y: (tf.cast(x, tf.complex128), tf.cast(y, tf.float64)), reals(3), z)
    for count in (1, 2, 3):
        end = "" if count == 1 else f"{count}D"
        x = _complex(2, 4, 3, 5)
        case(f"FFT{end}", lambda x, e=end: (getattr(raw, f"FFT{e}")(input=x), getattr(raw, f"IFFT{e}")(input=x)), x)
        for lengths in ([4, 3, 5], [3, 2, 4], [2, 3, 1]):
            chosen = lengths[-count:]
            case(
                f"RFFT{end}/{chosen}",
                lambda x, e=end, n=chosen: getattr(raw, f"RFFT{e}")(input=x, fft_length=n, Tcomplex=tf.complex128),
                reals(2, 4, 3, 5),
            )
            case(
                f"IRFFT{end}/{chosen}",
                lambda x, e=end, n=chosen: getattr(raw, f"IRFFT{e}")(input=x, fft_length=n, Treal=tf.float64),
                x,
            )
    case("stft", lambda x: tf.abs(tf.signal.stft(x, 8, 4, 16)), reals(2, 40))
