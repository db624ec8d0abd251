#include "server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace blinknet {
namespace {

constexpr double kTickS = 0.25;
constexpr double kGreetingS = 5.0;

volatile sig_atomic_t stop_asked = 0;

void AskToStop(int) { stop_asked = 1; }
void WakeUp(int) {}

// Signals arrive only while `ppoll` waits: the mask that it is to wait with.
sigset_t ListenToSignals() {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  for (int number : {SIGTERM, SIGINT, SIGCHLD}) {
    sigaddset(&blocked, number);
    struct sigaction action{};
    action.sa_handler = number == SIGCHLD ? WakeUp : AskToStop;
    sigaction(number, &action, nullptr);
  }
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  return before;
}

// Whether all of the few bytes went out; a fresh connection's buffer always holds them.
bool SendQuietly(int connection, const std::string& data) {
  return send(connection, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(data.size());
}

void Set(int connection, int level, int option, int value) {
  setsockopt(connection, level, option, &value, sizeof value);
}

// Ends a connection whose other side is cut off within ten seconds or so, not Linux's two hours.
void NoticeLostClients(int connection) {
  Set(connection, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(connection, IPPROTO_TCP, TCP_KEEPIDLE, 4);
  Set(connection, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  Set(connection, IPPROTO_TCP, TCP_KEEPCNT, 3);
  Set(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, 10'000);
}

}  // namespace

DeviceServer::DeviceServer(Fd listening, std::string key, Lease lease, RunSession run, int lifeline)
    : listening_(std::move(listening)),
      key_(std::move(key)),
      lease_(std::move(lease)),
      run_(std::move(run)),
      lifeline_(lifeline) {}

void DeviceServer::Serve(const std::function<void()>& on_registered) {
  waiting_ = ListenToSignals();
  bool announced = false;
  while (!stop_asked && !lost_parent_) {
    lease_.Tick(session_ == nullptr);
    if (lease_.registered() && !announced) on_registered();
    announced = announced || lease_.registered();
    Step();
  }
  lease_.Close();
  session_.reset();
}

void DeviceServer::Step() {
  std::vector<pollfd> watched = {{listening_.get(), POLLIN, 0}, {lifeline_, POLLIN, 0}};
  // Poll ignores a negative number.
  watched.push_back({session_ && session_->attended() ? session_->connection() : -1, POLLRDHUP, 0});
  const std::size_t first_peer = watched.size();
  for (const Peer& each : peers_) watched.push_back({each.connection.get(), POLLIN, 0});
  const double patience_s = session_ ? std::min(kTickS, session_->DueS()) : kTickS;
  const timespec patience{0, static_cast<long>(patience_s * 1e9)};
  if (ppoll(watched.data(), watched.size(), &patience, &waiting_) > 0) {
    lost_parent_ = watched[1].revents != 0;
    if (watched[2].revents) session_->HangUp();
    auto peer = peers_.begin();
    for (std::size_t at = first_peer; at < watched.size(); ++at) {
      const auto current = peer++;
      if (watched[at].revents) Read(current);
    }
    if (watched[0].revents) Accept();
  }
  TendSession();
  DropSlowPeers();
}

void DeviceServer::Accept() {
  Fd connection(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.get() >= 0) {
    peers_.push_back({std::move(connection), Now() + kGreetingS, ""});
  } else if ((errno == EMFILE || errno == ENFILE) && !peers_.empty()) {
    peers_.pop_front();  // Who has been silent for longest makes room.
  }
}

void DeviceServer::Read(Peers::iterator peer) {
  char chunk[4096];
  const ssize_t got = recv(peer->connection.get(), chunk, sizeof chunk, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  peer->data.append(chunk, got > 0 ? got : 0);
  const Greeting said = got > 0 ? ParseGreeting(peer->data) : Greeting{Greeting::State::kGarbage, {}};
  if (said.state == Greeting::State::kIncomplete) return;
  Fd connection = std::move(peer->connection);
  peers_.erase(peer);
  Answer(std::move(connection), said);
}

void DeviceServer::Answer(Fd connection, const Greeting& said) {
  if (said.state == Greeting::State::kGarbage) return;
  if (!session_ && !lease_.matchkey().empty() && said.hello.matchkey == lease_.matchkey()) {
    Begin(std::move(connection), said.hello);
  } else {
    SendQuietly(connection.get(), Mismatch());
  }
}

void DeviceServer::Begin(Fd connection, const Hello& hello) {
  lease_.Withdraw();
  const int fd = connection.get();
  Set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  NoticeLostClients(fd);
  if (!SendQuietly(fd, Accepted(key_))) return;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  // In the forked process what belongs to the agent alone is closed first.
  const auto run = [this](int session, const std::string& folder) {
    lease_.Close();
    listening_ = Fd();
    peers_.clear();
    run_(session, folder);
  };
  try {
    session_ = std::make_unique<ServedSession>(std::move(connection), hello.timeout_s, run);
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "device %s: no session: %s\n", key_.c_str(), error.what());
  }
}

void DeviceServer::TendSession() {
  if (!session_) return;
  session_->Enforce();
  if (session_->Ended()) session_.reset();
}

void DeviceServer::DropSlowPeers() {
  const double now = Now();
  peers_.remove_if([now](const Peer& each) { return now > each.give_up_at; });
}

}  // namespace blinknet
