// Memory that is given back all at once, with TVM's interface; see io.h.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace tvm {
namespace support {

class Arena {
 public:
  // For plain data: nothing is constructed or destroyed.
  template <typename T>
  T* allocate_(int count = 1) {
    blocks_.emplace_back(new std::max_align_t[sizeof(T) * count / sizeof(std::max_align_t) + 1]);
    return reinterpret_cast<T*>(blocks_.back().get());
  }

  void RecycleAll() { blocks_.clear(); }

 private:
  std::vector<std::unique_ptr<std::max_align_t[]>> blocks_;
};

}  // namespace support
}  // namespace tvm
