#include "lease.h"

#include <cstdio>

namespace blinknet {
namespace {

constexpr double kRetryS = 0.5;
constexpr double kCheckS = 1.0;
constexpr int kUnusedChecks = 4;

// Message codes of TVM's tracker.
constexpr const char* kPut = "3";
constexpr const char* kUpdateInfo = "5";
constexpr const char* kPendingMatchkeys = "7";

// Keys and addresses have no character that JSON would escape: see `ParseKey` and `getaddrinfo`.
std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

Lease::Lease(Address tracker, std::string key, int port, std::optional<std::string> announced_host)
    : tracker_(std::move(tracker)),
      key_(std::move(key)),
      port_(port),
      host_(announced_host ? Quoted(*announced_host) : "null") {}

void Lease::Tick(bool free) {
  const bool due = Now() >= next_s_;
  if (!due && !(free && matchkey_.empty() && connection_)) return;
  try {
    Advance(free);
    complained_ = false;
    next_s_ = Now() + kCheckS;
  } catch (const WireError& error) {
    Close();
    Report(error.what());
    next_s_ = Now() + kRetryS;
  }
}

void Lease::Withdraw() { matchkey_.clear(); }

void Lease::Close() {
  connection_.reset();
  Withdraw();
}

void Lease::Advance(bool free) {
  if (!connection_) Connect();
  if (free && matchkey_.empty()) return Offer();
  // Asked while a session runs as well: it tells whether the tracker is still there.
  const std::string pending = connection_->Call(std::string("[") + kPendingMatchkeys + "]");
  if (!free || pending.find(Quoted(matchkey_)) != std::string::npos) {
    unused_checks_ = 0;
  } else if (++unused_checks_ >= kUnusedChecks) {
    Offer();  // A client took the match key and did not come.
  }
}

void Lease::Connect() {
  connection_.emplace(tracker_);
  const std::string place = "[" + host_ + ", " + std::to_string(port_) + "]";
  Tell(std::string("[") + kUpdateInfo + ", {\"key\": " + Quoted("server:" + key_) + ", \"addr\": " + place + "}]");
}

void Lease::Offer() {
  const std::string matchkey = key_ + ":" + std::to_string(random_());
  const std::string value = "[" + std::to_string(port_) + ", " + Quoted(matchkey) + "]";
  Tell(std::string("[") + kPut + ", " + Quoted(key_) + ", " + value + ", " + host_ + "]");
  matchkey_ = matchkey;
  unused_checks_ = 0;
}

void Lease::Tell(const std::string& message) {
  const std::string answer = connection_->Call(message);
  if (answer != "0") throw WireError("the tracker refuses the device: " + answer);
}

// Once for each time that the tracker is lost: it is tried for ever.
void Lease::Report(const std::string& problem) {
  if (!complained_) {
    std::fprintf(stderr, "device %s: no tracker at %s (%s); trying again for ever, `blinknet tracker` starts one\n",
                 key_.c_str(), tracker_.ToString().c_str(), problem.c_str());
  }
  complained_ = true;
}

}  // namespace blinknet
