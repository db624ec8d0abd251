// Small questions about texts, with TVM's interface; see io.h.
#pragma once

#include <cctype>
#include <cstring>
#include <string>

namespace tvm {
namespace support {

inline bool StartsWith(const std::string& text, const char* prefix) {
  return text.compare(0, std::strlen(prefix), prefix) == 0;
}

inline bool IsNumber(const std::string& text) {
  for (unsigned char each : text) {
    if (!std::isdigit(each)) return false;
  }
  return !text.empty();
}

}  // namespace support
}  // namespace tvm
