// Conversions between float and half precision, under the names that TVM calls them by; see io.h.
//
// The template parameters are those of compiler-rt's functions: from a type, its bits and the width of its
// significand, to another. The runtime asks for float and half alone.
#pragma once

#include <cstdint>
#include <cstring>

// To the nearest half, ties to even.
template <typename From, typename FromBits, int kFromWidth, typename To, typename ToBits, int kToWidth>
inline To __truncXfYf2__(From value) {
  static_assert(sizeof(From) == 4 && sizeof(To) == 2 && kFromWidth == 23 && kToWidth == 10, "float to half alone");
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<To>(sign | 0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return static_cast<To>(sign | 0x7c00);  // rounds to infinity
  const bool normal = magnitude >= 0x38800000;
  const uint32_t exponent = magnitude >> 23;
  if (!normal && exponent < 101) return static_cast<To>(sign);  // rounds to zero
  const uint32_t dropped = normal ? 13 : 126 - exponent;
  const uint32_t kept = normal ? magnitude - (112u << 23) : (magnitude & 0x7fffff) | 0x800000;
  const uint32_t half = 1u << (dropped - 1), rest = kept & ((1u << dropped) - 1), result = kept >> dropped;
  return static_cast<To>(sign | (result + (rest > half || (rest == half && result & 1))));
}

// Exact.
template <typename From, typename FromBits, int kFromWidth, typename To, typename ToBits, int kToWidth>
inline To __extendXfYf2__(From value) {
  static_assert(sizeof(From) == 2 && sizeof(To) == 4 && kFromWidth == 10 && kToWidth == 23, "half to float alone");
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000) << 16, magnitude = value & 0x7fff;
  uint32_t bits = magnitude << 13;
  if (magnitude >= 0x7c00) {
    bits += 224u << 23;  // infinity, or not a number
  } else if (magnitude >= 0x0400) {
    bits += 112u << 23;
  } else {
    const float scaled = static_cast<float>(magnitude) / (1 << 24);
    std::memcpy(&bits, &scaled, sizeof bits);
  }
  bits |= sign;
  To result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
