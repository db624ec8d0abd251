#include "session.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "functions.h"

namespace blinknet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "blinknet-session-";
constexpr double kHangUpGraceS = 0.5;
constexpr double kStoppedS = 3.0;
constexpr timeval kSendPatience{1, 0};

// An error is no reason to stop: there may be nothing there.
void Remove(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

std::string MakeFolder() {
  std::string folder = fs::temp_directory_path() / (kPrefix + std::to_string(getpid()) + "-XXXXXX");
  if (!mkdtemp(folder.data())) {
    const std::string advice = "; make room there, or name another folder in TMPDIR";
    throw std::runtime_error("cannot make " + folder + ": " + std::strerror(errno) + advice);
  }
  return folder;
}

// Whether a process has been stopped (SIGSTOP, a debugger), from /proc/PID/stat: `PID (NAME) STATE ...`.
bool Stopped(pid_t pid) {
  const std::string stat = ReadText("/proc/" + std::to_string(pid) + "/stat");
  const auto name_end = stat.rfind(") ");
  return name_end != std::string::npos && stat[name_end + 2] == 'T';
}

// The forked process's life; never returns.
[[noreturn]] void Become(pid_t agent, int connection, const std::string& folder, const RunSession& run) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != agent) _exit(1);  // It died before the call above.
  setsid();
  for (int number : {SIGTERM, SIGINT, SIGCHLD}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  int code = 1;
  try {
    if (chdir(folder.c_str()) != 0) throw std::runtime_error("cannot enter " + folder + ": " + std::strerror(errno));
    run(connection, folder);
    code = 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "session: %s\n", error.what());
  }
  _exit(code);
}

}  // namespace

ServedSession::ServedSession(Fd connection, double timeout_s, const RunSession& run)
    : connection_(std::move(connection)),
      timeout_s_(timeout_s),
      expires_at_(Now() + timeout_s),
      kill_at_(expires_at_),
      folder_(MakeFolder()) {
  const pid_t agent = getpid();
  pid_ = fork();
  if (pid_ == 0) Become(agent, connection_.get(), folder_, run);
  if (pid_ < 0) {
    const std::string reason = std::strerror(errno);
    Remove(folder_);
    throw std::runtime_error("cannot fork: " + reason + "; the machine has no memory or no process left");
  }
}

ServedSession::~ServedSession() {
  if (pid_ < 0) return;
  Kill();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
  CleanUp();
}

double ServedSession::DueS() const { return std::max(0.0, kill_at_ - Now()); }

void ServedSession::HangUp() {
  attended_ = false;
  kill_at_ = std::min(kill_at_, Now() + kHangUpGraceS);
}

void ServedSession::Enforce() {
  const double now = Now();
  if (!Stopped(pid_)) {
    stopped_since_ = 0;
  } else if (stopped_since_ == 0) {
    stopped_since_ = now;
  }
  if (now >= kill_at_ || (stopped_since_ > 0 && now - stopped_since_ >= kStoppedS)) {
    expired_ = now >= expires_at_;
    Kill();
  }
}

bool ServedSession::Ended() {
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == 0) return false;
  if (WIFSIGNALED(status)) {
    std::fprintf(stderr, "session: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  CleanUp();
  return true;
}

void ServedSession::Kill() {
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);  // It may not have become its group's leader yet.
}

void ServedSession::CleanUp() {
  kill(-pid_, SIGKILL);  // What a kernel forked is in the same group.
  pid_ = -1;
  Remove(folder_);
  if (expired_ && attended_) {
    setsockopt(connection_.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendPatience, sizeof kSendPatience);
    TellExpired(connection_.get(), timeout_s_);
  }
}

void Sweep() {
  const std::string prefix = kPrefix;
  std::error_code error;
  for (const fs::directory_entry& each : fs::directory_iterator(fs::temp_directory_path(), error)) {
    const std::string name = each.path().filename();
    if (name.compare(0, prefix.size(), prefix) != 0) continue;
    const std::string agent = name.substr(prefix.size(), name.find('-', prefix.size()) - prefix.size());
    const bool number = !agent.empty() && agent.find_first_not_of("0123456789") == std::string::npos;
    if (number && !fs::exists("/proc/" + agent)) Remove(each.path());
  }
}

}  // namespace blinknet
