// TVM's protocols in plain sockets: what a tracker is told, and what a client says first.
//
// The references are tvm/rpc/tracker.py and tvm/rpc/server.py. Numbers are little-endian, like every machine
// that this program is built for.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "posix.h"

namespace blinknet {

// A TCP end point, written HOST:PORT.
struct Address {
  std::string host;
  int port = 0;

  static Address Parse(const std::string& text);  // Throws InputError.
  std::string ToString() const { return host + ":" + std::to_string(port); }
};

// The tracker is gone, or speaks something else.
class WireError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A listening socket; port 0 picks a free one. Throws InputError when the address cannot be had.
Fd Listen(const std::string& host, int port);
int PortOf(int listening);

// A connection to a tracker on which every step ends within a second.
class TrackerConnection {
 public:
  explicit TrackerConnection(const Address& tracker);  // Throws WireError.

  // Sends one message in JSON and returns the answer, JSON as well. Throws WireError.
  std::string Call(const std::string& message);

 private:
  void Send(const std::string& data);
  std::string Receive(std::size_t count);

  Fd socket_;
};

// A client's complete greeting.
struct Hello {
  std::string matchkey;
  double timeout_s;  // After which the session ends; infinite when the client names none.
};

struct Greeting {
  enum class State { kIncomplete, kGarbage, kComplete } state;
  Hello hello;
};

// What the bytes say that a peer has sent so far.
Greeting ParseGreeting(const std::string& data);

// The answer to a client that may have the session, and to one that may not.
std::string Accepted(const std::string& key);
std::string Mismatch();

}  // namespace blinknet
