#include "memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "posix.h"

namespace blinknet {
namespace {

constexpr int kLargeBytes = 32 * 1024;

using Address = unsigned long long;

// `5500000000-550002f000 r-xp ...`; false for the other lines of /proc/self/smaps.
bool ParseRange(const std::string& line, Address& first, Address& end) {
  return std::sscanf(line.c_str(), "%llx-%llx ", &first, &end) == 2;
}

// From the end of each mapping of the emulated program to its beginning.
std::map<Address, Address> ProgramRanges() {
  std::map<Address, Address> ranges;
  std::istringstream lines(ReadText("/proc/self/maps"));
  Address first = 0, end = 0;
  for (std::string line; std::getline(lines, line);) {
    if (ParseRange(line, first, end)) ranges[end] = first;
  }
  return ranges;
}

// The sum of a field over all mappings.
int64_t Sum(const std::string& smaps, const std::string& field) {
  std::istringstream lines(smaps);
  int64_t kilobytes = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, field.size() + 1, field + ":") == 0) kilobytes += std::atoll(line.c_str() + field.size() + 1);
  }
  return kilobytes * 1024;
}

// Whether so much memory can be had.
bool Maps(std::size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory != MAP_FAILED && munmap(memory, size) == 0;
}

}  // namespace

int64_t Kilobytes(const std::string& path, const std::string& field) { return Sum(ReadText(path), field); }

std::string OwnMappings(bool emulated) {
  const std::string all = ReadText("/proc/self/smaps");
  if (!emulated) return all;
  const std::map<Address, Address> ranges = ProgramRanges();
  std::istringstream lines(all);
  std::string kept;
  bool within = false;
  for (std::string line; std::getline(lines, line);) {
    Address first = 0, end = 0;
    if (ParseRange(line, first, end)) {
      const auto range = ranges.upper_bound(first);
      within = range != ranges.end() && range->second < end;
    }
    if (within) kept += line + "\n";
  }
  return kept;
}

void Trim() {
  mallopt(M_MMAP_THRESHOLD, kLargeBytes);
  mallopt(M_TRIM_THRESHOLD, kLargeBytes);
  malloc_trim(0);
}

bool ResetPeak() {
  std::ofstream file("/proc/self/clear_refs");
  return static_cast<bool>(file << "5" << std::flush);
}

int64_t PeakBytes(bool emulated) {
  const int64_t peak = Kilobytes("/proc/self/status", "VmHWM");
  // What the emulator has for itself now it had at the peak as well: it gives nothing back.
  return emulated ? peak - (ResidentBytes(false) - ResidentBytes(true)) : peak;
}

int64_t ResidentBytes(bool emulated) {
  return emulated ? Sum(OwnMappings(true), "Rss") : Kilobytes("/proc/self/smaps_rollup", "Rss");
}

bool LimitMemory(int64_t bytes, bool emulated) {
  if (emulated) return false;  // The emulator's own data count as well, and qemu ignores the call.
  const int64_t present = Kilobytes("/proc/self/status", "VmData");
  mallopt(M_TOP_PAD, 0);  // Otherwise the heap grows by 128 KiB at a time, needed or not.
  rlimit limit{};
  if (getrlimit(RLIMIT_DATA, &limit) != 0) return false;
  limit.rlim_cur = std::min<rlim_t>(present + bytes, limit.rlim_max);
  return setrlimit(RLIMIT_DATA, &limit) == 0 && present > 0 && !Maps(bytes + sysconf(_SC_PAGESIZE));
}

}  // namespace blinknet
