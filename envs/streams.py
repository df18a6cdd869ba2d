"""Counter-based random numbers: the same draw whatever the lane, thread or batch size.

Every number is a pure function of its coordinates ``(seed, episode, stream, index)``, so a lane of
a vector environment and a scalar environment with the same seed draw the same values, in any order
and from any thread. The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
numbers: as easy as 1, 2, 3", SC 2011).

Streams below 16 are reserved for the suite; a treatment numbers its own from 16 upwards.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled

STREAM_PATIENT = 0
STREAM_COHORT_INDEX = 1
STREAM_VALIDATION = 2
STREAM_HELD_OUT = 3
STREAM_SAMPLED_ACTION = 8
STREAM_DOSE_ERROR = 9
STREAM_OBSERVATION_NOISE = 10
STREAM_BELIEF = 11
STREAM_CONTROL = 12

_MASK = np.uint64(0xFFFFFFFF)
_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_SHIFT = np.uint64(32)
_INV52 = 1.0 / 4503599627370496.0


@compiled(inline="never")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten Philox rounds on 32-bit words held in uint64; returns four uint64 below 2**32."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        n0 = (p1 >> _SHIFT) ^ c1 ^ k0
        n2 = (p0 >> _SHIFT) ^ c3 ^ k1
        c1 = p1 & _MASK
        c3 = p0 & _MASK
        c0 = n0
        c2 = n2
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@compiled
def _words(seed, episode, stream, block):
    return philox4x32(
        np.uint64(block) & _MASK,
        np.uint64(stream) & _MASK,
        np.uint64(episode) & _MASK,
        np.uint64(episode) >> _SHIFT,
        np.uint64(seed) & _MASK,
        np.uint64(seed) >> _SHIFT,
    )


@compiled
def uniform_pair(seed, episode, stream, block):
    """Two independent uniform float64 in the open interval (0, 1), 52 random bits each."""
    a, b, c, d = _words(seed, episode, stream, block)
    u = (a << np.uint64(20)) ^ (b >> np.uint64(12))
    v = (c << np.uint64(20)) ^ (d >> np.uint64(12))
    return (float(u) + 0.5) * _INV52, (float(v) + 0.5) * _INV52


@compiled
def normal_pair(seed, episode, stream, block):
    """Two independent standard normal float64 (Box-Muller on :func:`uniform_pair`)."""
    u, v = uniform_pair(seed, episode, stream, block)
    radius = math.sqrt(-2.0 * math.log(u))
    return radius * math.cos(2.0 * math.pi * v), radius * math.sin(2.0 * math.pi * v)


@compiled
def uniforms(seeds, episodes, stream, count):
    """Uniform draws for many lanes: ``(k,)`` seeds and episodes give ``(k, count)`` float64."""
    out = np.empty((seeds.shape[0], count))
    for lane in range(seeds.shape[0]):
        for block in range((count + 1) // 2):
            u, v = uniform_pair(seeds[lane], episodes[lane], stream, block)
            out[lane, 2 * block] = u
            if 2 * block + 1 < count:
                out[lane, 2 * block + 1] = v
    return out


@compiled
def normals(seeds, episodes, stream, count):
    """Standard normal draws for many lanes: ``(k,)`` seeds and episodes give ``(k, count)``."""
    out = np.empty((seeds.shape[0], count))
    for lane in range(seeds.shape[0]):
        for block in range((count + 1) // 2):
            u, v = normal_pair(seeds[lane], episodes[lane], stream, block)
            out[lane, 2 * block] = u
            if 2 * block + 1 < count:
                out[lane, 2 * block + 1] = v
    return out


@compiled
def lognormals(seeds, episodes, stream, median, sigma):
    """Log-normal rows ``(k, fields)`` with the given medians and standard deviations of the log."""
    out = normals(seeds, episodes, stream, median.shape[0])
    for lane in range(out.shape[0]):
        for field in range(out.shape[1]):
            out[lane, field] = median[field] * math.exp(sigma[field] * out[lane, field])
    return out
