// How much memory this process has, and may have.
//
// Under qemu's user mode /proc/self/smaps and the counters are those of the emulator with everything that it
// translates; /proc/self/maps lists the mappings of the emulated program alone, at the same addresses. With
// `emulated` only those count.
#pragma once

#include <cstdint>
#include <string>

namespace blinknet {

// A size in bytes from `FIELD:  NUMBER kB` lines of a file; 0 where there is none.
int64_t Kilobytes(const std::string& path, const std::string& field);

// The text of /proc/self/smaps.
std::string OwnMappings(bool emulated);

// Gives free heap pages back to the kernel, and lets large blocks come from it and go back by themselves.
//
// Without that glibc raises its threshold with every large block that is freed and keeps the next ones.
void Trim();

// Starts counting this process's peak anew; whether this kernel counts peaks.
bool ResetPeak();

// The largest resident size since `ResetPeak`; Linux counts it per core, up to ~100 KB off.
int64_t PeakBytes(bool emulated);

// The resident size of this process now, exact.
int64_t ResidentBytes(bool emulated);

// Lets this process's data grow by so many bytes and no more; false where that cannot be enforced.
bool LimitMemory(int64_t bytes, bool emulated);

}  // namespace blinknet
