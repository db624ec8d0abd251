// TVM's server loop on a connected socket, for a runtime that is built from the sources in its wheel: its own
// channel needs a header that the wheel lacks.

#include <sys/socket.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <cerrno>
#include <memory>

#include "../runtime/rpc/minrpc/rpc_reference.h"
#include "../runtime/rpc/rpc_endpoint.h"

namespace tvm {
namespace runtime {
namespace {

class SocketChannel final : public RPCChannel {
 public:
  explicit SocketChannel(int socket) : socket_(socket) {}
  ~SocketChannel() { shutdown(socket_, SHUT_RDWR); }

  size_t Send(const void* data, size_t size) final {
    ssize_t sent = 0;
    do {
      sent = send(socket_, data, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) TVM_FFI_THROW(InternalError) << "the client takes nothing any more";
    return sent;
  }

  size_t Recv(void* data, size_t size) final {
    ssize_t got = 0;
    do {
      got = recv(socket_, data, size, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) TVM_FFI_THROW(InternalError) << "the client says nothing any more";
    return got;
  }

 private:
  const int socket_;
};

// What RPCReference wants to write an answer with.
class SocketWriter {
 public:
  explicit SocketWriter(int socket) : channel_(socket), socket_(socket) {}

  template <typename T>
  void Write(const T& value) {
    WriteArray(&value, 1);
  }
  template <typename T>
  void WriteArray(const T* values, size_t count) {
    const char* data = reinterpret_cast<const char*>(values);
    for (size_t left = count * sizeof(T); left > 0;) {
      const size_t sent = channel_.Send(data, left);
      data += sent;
      left -= sent;
    }
  }
  void MessageStart(uint64_t) {}
  void MessageDone() {}
  [[noreturn]] void ThrowError(RPCServerStatus code) { TVM_FFI_THROW(InternalError) << RPCServerStatusToString(code); }

 private:
  SocketChannel channel_;
  const int socket_;
};

void ServerLoop(int socket) {
  RPCEndpoint::Create(std::make_unique<SocketChannel>(socket), "SockServerLoop", "")->ServerLoop();
}

}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  namespace refl = tvm::ffi::reflection;
  refl::GlobalDef()
      .def("rpc.ServerLoop", ServerLoop)
      .def("rpc.ReturnException", [](int socket, const ffi::String& message) {
        SocketWriter writer(socket);
        RPCReference::ReturnException(message.c_str(), &writer);
      });
}

}  // namespace runtime
}  // namespace tvm
