// The only part that knows TVM: its server loop, and what our sessions offer besides TVM's own functions.
#pragma once

#include <string>

namespace blinknet {

// Names the cores to TVM's runtime; before anything of it runs.
void PrepareRuntime(std::size_t cores);

// Runs TVM's server loop on the connection until the client leaves. Files that it uploads lie in `folder`.
void ServeSession(int connection, const std::string& folder, bool emulated);

// TVM's own clients turn this into an RPCSessionTimeoutError.
void TellExpired(int connection, double timeout_s);

}  // namespace blinknet
