// A queue of bytes, with TVM's interface; see io.h.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace tvm {
namespace support {

// What was read is thrown away when there is no room behind the rest.
class RingBuffer {
 public:
  size_t bytes_available() const { return end_ - begin_; }

  // Makes room for so many bytes altogether.
  void Reserve(size_t size) {
    if (bytes_.size() - begin_ >= size) return;
    if (begin_ < end_) std::memmove(bytes_.data(), bytes_.data() + begin_, bytes_available());
    end_ -= begin_;
    begin_ = 0;
    if (bytes_.size() < size) bytes_.resize(std::max(size, 2 * bytes_.size()));
  }

  void Read(void* data, size_t size) {
    if (size > 0) std::memcpy(data, bytes_.data() + begin_, size);
    Take(size);
  }

  void Write(const void* data, size_t size) {
    Reserve(bytes_available() + size);
    if (size > 0) std::memcpy(bytes_.data() + end_, data, size);
    end_ += size;
  }

  // `send(data, size)` returns how many bytes it took.
  template <typename Send>
  size_t ReadWithCallback(Send send, size_t size) {
    const size_t taken = send(bytes_.data() + begin_, size);
    Take(taken);
    return taken;
  }

  // `receive(data, size)` returns how many bytes it gave.
  template <typename Receive>
  size_t WriteWithCallback(Receive receive, size_t size) {
    Reserve(bytes_available() + size);
    const size_t given = receive(bytes_.data() + end_, size);
    end_ += given;
    return given;
  }

 private:
  void Take(size_t size) {
    begin_ += size;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  std::vector<char> bytes_ = std::vector<char>(4096);
  size_t begin_ = 0, end_ = 0;
};

}  // namespace support
}  // namespace tvm
