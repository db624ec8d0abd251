// A device's standing with its tracker: kept up for ever, whatever happens to the tracker.
#pragma once

#include <optional>
#include <random>
#include <string>

#include "wire.h"

namespace blinknet {

// Offers one device to a tracker, one match key at a time. The tracker hands a match key to one client, who
// greets the device with it.
class Lease {
 public:
  // `announced_host` is where clients find the device; without it, where the tracker sees us come from.
  Lease(Address tracker, std::string key, int port, std::optional<std::string> announced_host);

  // To be called often: connects, offers when `free`, and notices a tracker that is gone or has forgotten us.
  void Tick(bool free);

  // The match key is used up: nobody may come with it again.
  void Withdraw();

  // Leaves the tracker, which forgets the device at once.
  void Close();

  bool registered() const { return connection_ && !matchkey_.empty(); }

  // Of the only client that is let in; empty when nobody is.
  const std::string& matchkey() const { return matchkey_; }

 private:
  void Advance(bool free);
  void Connect();
  void Offer();
  void Tell(const std::string& message);
  void Report(const std::string& problem);

  const Address tracker_;
  const std::string key_;
  const int port_;
  const std::string host_;  // In JSON: a text or null.
  std::optional<TrackerConnection> connection_;
  std::mt19937_64 random_{std::random_device{}()};
  std::string matchkey_;
  double next_s_ = 0;
  int unused_checks_ = 0;
  bool complained_ = false;
};

}  // namespace blinknet
