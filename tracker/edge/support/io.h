// What TVM's runtime writes itself with, for building it from the sources in its wheel, which lack this part.
//
// The interface is that of TVM's `support` headers, as far as the runtime uses it; the format is that of its
// files: numbers as they are in memory (little-endian machines alone), sequences after their length in 64 bits.
#pragma once

#include <dlpack/dlpack.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "TVM's files would have to be swapped on this machine");

namespace tvm {
namespace support {

// How a type is written; a specialisation has `enabled`, `Write` and `Read`.
template <typename T, typename = void>
struct Serializer {
  static constexpr bool enabled = false;
};

class Stream {
 public:
  virtual ~Stream() = default;

  // Both return how many bytes went through.
  virtual size_t Read(void* data, size_t size) = 0;
  virtual size_t Write(const void* data, size_t size) = 0;

  template <typename T>
  void Write(const T& value) {
    static_assert(Serializer<T>::enabled, "nothing says how to write this type");
    Serializer<T>::Write(this, value);
  }

  // False where the stream ends too early.
  template <typename T>
  bool Read(T* value) {
    static_assert(Serializer<T>::enabled, "nothing says how to read this type");
    return Serializer<T>::Read(this, value);
  }

  template <typename T>
  void WriteArray(const T* values, size_t count) {
    for (size_t at = 0; at < count; ++at) Write<T>(values[at]);
  }

  template <typename T>
  bool ReadArray(T* values, size_t count) {
    for (size_t at = 0; at < count; ++at) {
      if (!Read<T>(values + at)) return false;
    }
    return true;
  }
};

// Numbers, and what is laid out like them.
template <typename T>
struct Serializer<T, std::enable_if_t<std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, DLDataType> ||
                                      std::is_same_v<T, DLDevice>>> {
  static constexpr bool enabled = true;
  static void Write(Stream* stream, const T& value) { stream->Write(&value, sizeof value); }
  static bool Read(Stream* stream, T* value) { return stream->Read(value, sizeof *value) == sizeof *value; }
};

template <>
struct Serializer<std::string> {
  static constexpr bool enabled = true;

  static void Write(Stream* stream, const std::string& text) {
    stream->Write(static_cast<uint64_t>(text.size()));
    stream->Write(text.data(), text.size());
  }

  static bool Read(Stream* stream, std::string* text) {
    uint64_t size = 0;
    if (!stream->Read(&size)) return false;
    text->resize(size);
    return stream->Read(text->data(), size) == size;
  }
};

// TVM's own texts and bytes.
template <typename T>
struct Serializer<T, std::enable_if_t<std::is_same_v<T, ffi::String> || std::is_same_v<T, ffi::Bytes>>> {
  static constexpr bool enabled = true;
  static void Write(Stream* stream, const T& text) { stream->Write(std::string(text.data(), text.size())); }

  static bool Read(Stream* stream, T* text) {
    std::string content;
    const bool whole = stream->Read(&content);
    *text = T(std::move(content));
    return whole;
  }
};

template <typename T>
struct Serializer<std::vector<T>> {
  static constexpr bool enabled = true;

  static void Write(Stream* stream, const std::vector<T>& values) {
    stream->Write(static_cast<uint64_t>(values.size()));
    stream->WriteArray(values.data(), values.size());
  }

  static bool Read(Stream* stream, std::vector<T>* values) {
    uint64_t size = 0;
    if (!stream->Read(&size)) return false;
    values->resize(size);
    return stream->ReadArray(values->data(), size);
  }
};

template <typename T>
struct Serializer<ffi::Array<T>> {
  static constexpr bool enabled = true;
  static void Write(Stream* stream, const ffi::Array<T>& values) {
    stream->Write(std::vector<T>(values.begin(), values.end()));
  }

  static bool Read(Stream* stream, ffi::Array<T>* values) {
    std::vector<T> content;
    const bool whole = stream->Read(&content);
    *values = ffi::Array<T>(content.begin(), content.end());
    return whole;
  }
};

template <typename K, typename V>
struct Serializer<ffi::Map<K, V>> {
  static constexpr bool enabled = true;

  static void Write(Stream* stream, const ffi::Map<K, V>& entries) {
    stream->Write(static_cast<uint64_t>(entries.size()));
    for (const auto& each : entries) {
      stream->Write(each.first);
      stream->Write(each.second);
    }
  }

  static bool Read(Stream* stream, ffi::Map<K, V>* entries) {
    uint64_t size = 0;
    if (!stream->Read(&size)) return false;
    *entries = {};
    for (uint64_t at = 0; at < size; ++at) {
      K key;
      V value;
      if (!stream->Read(&key) || !stream->Read(&value)) return false;
      entries->Set(std::move(key), std::move(value));
    }
    return true;
  }
};

}  // namespace support
}  // namespace tvm
