// The agent's loop: one thread, one poll, no peer that can block another.
#pragma once

#include <signal.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "lease.h"
#include "session.h"

namespace blinknet {

// Serves one device: one session at a time, registered whenever it is free.
class DeviceServer {
 public:
  // `lifeline` is a pipe's reading end, or -1.
  DeviceServer(Fd listening, std::string key, Lease lease, RunSession run, int lifeline);

  // Runs until SIGTERM, SIGINT or the end of the lifeline; leaves no process and no folder behind.
  void Serve(const std::function<void()>& on_registered);

 private:
  // Somebody who connected and has not finished greeting.
  struct Peer {
    Fd connection;
    double give_up_at;
    std::string data;
  };
  using Peers = std::list<Peer>;

  void Step();
  void Accept();
  void Read(Peers::iterator peer);
  void Answer(Fd connection, const Greeting& said);
  void Begin(Fd connection, const Hello& hello);
  void TendSession();
  void DropSlowPeers();

  Fd listening_;
  const std::string key_;
  Lease lease_;
  const RunSession run_;
  const int lifeline_;
  Peers peers_;
  std::unique_ptr<ServedSession> session_;
  sigset_t waiting_{};
  bool lost_parent_ = false;
};

}  // namespace blinknet
