#include "wire.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <sstream>

namespace blinknet {
namespace {

constexpr int32_t kTrackerMagic = 0x2f271;
constexpr int32_t kRpcMagic = 0xff271;
constexpr int32_t kRpcMismatch = kRpcMagic + 2;
constexpr int32_t kLongestHello = 1024;
constexpr int32_t kLargestMessage = 1 << 20;
constexpr timeval kPatience{1, 0};
constexpr int kBacklog = 128;

std::string Pack(int32_t number) { return {reinterpret_cast<const char*>(&number), sizeof number}; }

int32_t Unpack(const std::string& data, std::size_t at = 0) {
  int32_t number = 0;
  std::memcpy(&number, data.data() + at, sizeof number);
  return number;
}

std::string Reason() { return std::strerror(errno); }

using Places = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Where a name may be reached; throws `Error`.
template <typename Error>
Places Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  if (int code = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found)) {
    throw Error("cannot find " + host + ": " + gai_strerror(code));
  }
  return {found, &freeaddrinfo};
}

void Set(int socket, int level, int option, int value) { setsockopt(socket, level, option, &value, sizeof value); }

Fd Connect(const Address& address) {
  Places places = Resolve<WireError>(address.host, std::to_string(address.port), AI_NUMERICSERV);
  for (addrinfo* each = places.get(); each; each = each->ai_next) {
    Fd fd(socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol));
    if (fd.get() < 0) continue;
    // Linux ends connect() after the time-out for sending as well.
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    if (connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0) return fd;
  }
  throw WireError("cannot connect to " + address.ToString() + ": " + Reason());
}

}  // namespace

Address Address::Parse(const std::string& text) {
  const auto colon = text.rfind(':');
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool number = !port.empty() && port.size() < 6 && port.find_first_not_of("0123456789") == std::string::npos;
  const int value = number ? std::atoi(port.c_str()) : 0;
  if (colon == std::string::npos || colon == 0 || value < 1 || value > 65535) {
    throw InputError("address '" + text + "' is not HOST:PORT; write it like 127.0.0.1:9190");
  }
  return {text.substr(0, colon), value};
}

Fd Listen(const std::string& host, int port) {
  Places places = Resolve<InputError>(host, std::to_string(port), AI_NUMERICSERV | AI_PASSIVE);
  for (addrinfo* each = places.get(); each; each = each->ai_next) {
    Fd fd(socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, each->ai_protocol));
    if (fd.get() >= 0 && bind(fd.get(), each->ai_addr, each->ai_addrlen) == 0 && listen(fd.get(), kBacklog) == 0) {
      return fd;
    }
  }
  const std::string place = host + ":" + std::to_string(port);
  throw InputError("cannot listen on " + place + " (" + Reason() + "); choose others with --host and --port");
}

int PortOf(int listening) {
  sockaddr_storage place{};
  socklen_t size = sizeof place;
  getsockname(listening, reinterpret_cast<sockaddr*>(&place), &size);
  const bool six = place.ss_family == AF_INET6;
  return ntohs(six ? reinterpret_cast<sockaddr_in6&>(place).sin6_port : reinterpret_cast<sockaddr_in&>(place).sin_port);
}

TrackerConnection::TrackerConnection(const Address& tracker) : socket_(Connect(tracker)) {
  Set(socket_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  Send(Pack(kTrackerMagic));
  if (Unpack(Receive(4)) != kTrackerMagic) throw WireError(tracker.ToString() + " is not a TVM tracker");
}

std::string TrackerConnection::Call(const std::string& message) {
  Send(Pack(static_cast<int32_t>(message.size())) + message);
  const int32_t size = Unpack(Receive(4));
  if (size <= 0 || size > kLargestMessage) throw WireError("the tracker announces " + std::to_string(size) + " bytes");
  return Receive(size);
}

void TrackerConnection::Send(const std::string& data) {
  for (std::size_t at = 0; at < data.size();) {
    const ssize_t sent = send(socket_.get(), data.data() + at, data.size() - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) throw WireError("the tracker takes nothing: " + Reason());
    at += sent;
  }
}

std::string TrackerConnection::Receive(std::size_t count) {
  std::string data(count, '\0');
  for (std::size_t at = 0; at < count;) {
    // The tracker sends length and text apart: without this its Nagle waits 40 ms for our delayed ACK.
    Set(socket_.get(), IPPROTO_TCP, TCP_QUICKACK, 1);
    const ssize_t got = recv(socket_.get(), data.data() + at, count - at, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw WireError("the tracker does not answer: " + Reason());
    if (got == 0) throw WireError("the tracker closed the connection");
    at += got;
  }
  return data;
}

namespace {

// `client:MATCHKEY [-timeout=SECONDS]`
std::optional<Hello> ParseText(const std::string& text) {
  static const std::string kRole = "client:", kTimeout = "-timeout=";
  std::istringstream words(text);
  std::string word;
  if (!(words >> word) || word.compare(0, kRole.size(), kRole) != 0) return std::nullopt;
  Hello hello{word.substr(kRole.size()), std::numeric_limits<double>::infinity()};
  while (words >> word) {
    if (word.compare(0, kTimeout.size(), kTimeout) != 0) continue;
    char* end = nullptr;
    hello.timeout_s = std::strtod(word.c_str() + kTimeout.size(), &end);
    if (*end || end == word.c_str() + kTimeout.size() || std::isnan(hello.timeout_s)) return std::nullopt;
  }
  return hello;
}

}  // namespace

Greeting ParseGreeting(const std::string& data) {
  const std::string start = data.substr(0, 4);
  if (Pack(kRpcMagic).compare(0, start.size(), start) != 0) return {Greeting::State::kGarbage, {}};
  if (data.size() < 8) return {Greeting::State::kIncomplete, {}};
  const int32_t length = Unpack(data, 4);
  if (length <= 0 || length > kLongestHello) return {Greeting::State::kGarbage, {}};
  if (data.size() < 8 + static_cast<std::size_t>(length)) return {Greeting::State::kIncomplete, {}};
  const std::optional<Hello> hello = ParseText(data.substr(8, length));
  return hello ? Greeting{Greeting::State::kComplete, *hello} : Greeting{Greeting::State::kGarbage, {}};
}

std::string Accepted(const std::string& key) {
  const std::string name = "server:" + key;
  return Pack(kRpcMagic) + Pack(static_cast<int32_t>(name.size())) + name;
}

std::string Mismatch() { return Pack(kRpcMismatch); }

}  // namespace blinknet
