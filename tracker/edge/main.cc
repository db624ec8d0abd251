// The device agent for machines without Python: a TVM RPC server that survives its sessions, its clients and its
// tracker. It behaves like tracker/agent.py, and any TVM client can use it.
//
// TVM RPC has no authentication: who reaches the port runs native code, so it listens on 127.0.0.1 unless told
// otherwise.

#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "facts.h"
#include "functions.h"
#include "server.h"

namespace blinknet {
namespace {

constexpr const char* kUsage =
    "usage: blinknet-agent --tracker HOST:PORT --key CLASS.UNIT [--host HOST] [--port N] [--cores N,N] [--emulated]\n"
    "\n"
    "Serve this machine as a device.\n"
    "\n"
    "  --tracker HOST:PORT  the tracker to register with\n"
    "  --key CLASS.UNIT     the device's name, such as rpi4.unit-02\n"
    "  --host HOST          address to listen on and to tell the tracker (default: 127.0.0.1)\n"
    "  --port N             port to listen on (default: a free one)\n"
    "  --cores N,N          run sessions on these cores\n"
    "  --emulated           say that this machine is an emulated one\n";

struct Options {
  std::string tracker, key, host = "127.0.0.1", cores;
  bool emulated = false;
  int port = 0;
  int lifeline = -1;  // A pipe's reading end: the agent ends when it closes.
};

std::string CheckedKey(const std::string& key) {
  static const std::string kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-";
  const auto dot = key.find('.');
  const bool named = dot != std::string::npos && dot > 0 && dot + 1 < key.size();
  if (!named || key.find_first_not_of(kLetters) != dot || key.find_first_not_of(kLetters + ".") != std::string::npos) {
    throw InputError("device key '" + key + "' is not CLASS.UNIT of letters, digits, _ + -; write it like rpi4.unit-02");
  }
  return key;
}

// `--name value` and `--name=value`.
Options Parse(const std::vector<std::string>& given) {
  Options options;
  std::string lifeline, port;
  const std::map<std::string, std::string*> texts = {{"--tracker", &options.tracker}, {"--key", &options.key},
                                                     {"--host", &options.host},       {"--cores", &options.cores},
                                                     {"--lifeline", &lifeline},       {"--port", &port}};
  for (std::size_t at = 0; at < given.size(); ++at) {
    const auto equal = given[at].find('=');
    const std::string name = given[at].substr(0, equal);
    const auto text = texts.find(name);
    if (name == "--emulated") {
      options.emulated = true;
    } else if (text == texts.end()) {
      throw InputError("there is no option " + given[at] + "; see --help");
    } else if (equal != std::string::npos) {
      *text->second = given[at].substr(equal + 1);
    } else if (++at < given.size()) {
      *text->second = given[at];
    } else {
      throw InputError(name + " needs a value; see --help");
    }
  }
  if (options.tracker.empty() || options.key.empty()) throw InputError("--tracker and --key are needed; see --help");
  if (!port.empty()) options.port = Address::Parse("localhost:" + port).port;
  if (!lifeline.empty()) options.lifeline = std::atoi(lifeline.c_str());
  return options;
}

std::vector<int> OwnCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// Keeps this process and its sessions on the cores.
void Pin(const std::string& text) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool list = text.find_first_not_of("0123456789,-") == std::string::npos;
  for (int core : list ? CoreList(text) : std::vector<int>()) {
    if (core >= 0 && core < CPU_SETSIZE) CPU_SET(core, &set);
  }
  if (sched_setaffinity(0, sizeof set, &set) == 0) return;
  std::string available;
  for (int core : OwnCores()) available += (available.empty() ? "" : ",") + std::to_string(core);
  throw InputError("cannot use cores " + text + "; choose from " + available);
}

void Run(const Options& options) {
  const Address tracker = Address::Parse(options.tracker);
  const std::string key = CheckedKey(options.key);
  if (!options.cores.empty()) Pin(options.cores);
  PrepareRuntime(OwnCores().size());
  Sweep();
  Fd listening = Listen(options.host, options.port);
  const int port = PortOf(listening.get());
  const bool any = options.host.empty() || options.host == "0.0.0.0" || options.host == "::";
  Lease lease(tracker, key, port, any ? std::nullopt : std::optional(options.host));
  const auto run = [&](int connection, const std::string& folder) {
    ServeSession(connection, folder, options.emulated);
  };
  DeviceServer server(std::move(listening), key, std::move(lease), run, options.lifeline);
  server.Serve([&] {
    std::printf("device %s is registered with the tracker at %s\n", key.c_str(), tracker.ToString().c_str());
    std::fflush(stdout);
  });
}

}  // namespace
}  // namespace blinknet

int main(int count, char** arguments) {
  const std::vector<std::string> given(arguments + 1, arguments + count);
  for (const std::string& each : given) {
    if (each == "--help" || each == "-h") return std::fputs(blinknet::kUsage, stdout) < 0;
  }
  try {
    blinknet::Run(blinknet::Parse(given));
  } catch (const blinknet::InputError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "blinknet-agent: %s\n", error.what());
    return 1;
  }
  return 0;
}
