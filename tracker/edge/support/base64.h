// Streams in base 64, with TVM's interface; see io.h.
#pragma once

#include <tvm/ffi/extra/base64.h>

#include <memory>

#include "bytes_io.h"

namespace tvm {
namespace support {

// What is written becomes base 64 with `Finish`.
class Base64OutStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  explicit Base64OutStream(Stream* out) : out_(out) {}

  size_t Read(void*, size_t) final { TVM_FFI_THROW(InternalError) << "this stream is for writing"; }
  size_t Write(const void* data, size_t size) final {
    plain_.append(static_cast<const char*>(data), size);
    return size;
  }
  void Finish() {
    const ffi::String encoded = ffi::Base64Encode(ffi::Bytes(plain_));
    out_->Write(encoded.data(), encoded.size());
  }

 private:
  Stream* out_;
  std::string plain_;
};

// `InitPosition` decodes all of the other stream.
class Base64InStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  explicit Base64InStream(Stream* in) : in_(in) {}

  void InitPosition() {
    std::string encoded;
    char block[4096];
    while (const size_t got = in_->Read(block, sizeof block)) encoded.append(block, got);
    plain_ = ffi::Base64Decode(ffi::String(encoded));
    decoded_ = std::make_unique<BytesInStream>(plain_);
  }
  size_t Read(void* data, size_t size) final { return decoded_->Read(data, size); }
  size_t Write(const void*, size_t) final { TVM_FFI_THROW(InternalError) << "this stream is for reading"; }

 private:
  Stream* in_;
  ffi::Bytes plain_;
  std::unique_ptr<BytesInStream> decoded_;
};

}  // namespace support
}  // namespace tvm
