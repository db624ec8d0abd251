// One session on the device: a forked process that runs TVM's server loop and can be killed.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "posix.h"

namespace blinknet {

// A session's life in its own process: `(connection, folder)`.
using RunSession = std::function<void(int, const std::string&)>;

// A client's exclusive use of this device, from the accepted connection to the removed folder.
//
// The folder holds what the client uploads; it is named after the agent's process, see `Sweep`.
class ServedSession {
 public:
  // Forks a process that calls `run(connection, folder)` and then ends.
  ServedSession(Fd connection, double timeout_s, const RunSession& run);

  // Kills the session and waits for its end.
  ~ServedSession();

  int connection() const { return connection_.get(); }

  // Whether the client was still there when last looked at.
  bool attended() const { return attended_; }

  // Seconds until `Enforce` may have something to do.
  double DueS() const;

  // The client is gone: the server loop ends by itself, unless a kernel keeps it busy.
  void HangUp();

  // Kills the session when its time is over, or when it has been stopped for a while.
  void Enforce();

  // Whether the process is gone; then nothing of the session is left but the open connection.
  bool Ended();

 private:
  void Kill();
  void CleanUp();

  Fd connection_;
  const double timeout_s_;
  const double expires_at_;
  double kill_at_;
  double stopped_since_ = 0;
  bool expired_ = false;
  bool attended_ = true;
  std::string folder_;
  pid_t pid_ = -1;
};

// Removes the folders of agents that were killed.
void Sweep();

}  // namespace blinknet
