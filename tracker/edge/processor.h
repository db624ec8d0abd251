// What the processor itself tells a process, real or emulated.
#pragma once

#include <string>
#include <vector>

namespace blinknet {

// By the names that Linux has for them in /proc/cpuinfo: those that kernels may need.
std::vector<std::string> ProcessorFeatures();

// The processor that QEMU_CPU tells qemu to be, else what a processor says of itself.
std::string ProcessorName();

}  // namespace blinknet
