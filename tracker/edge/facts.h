// A machine's facts from Linux's own files; the same as in tracker/facts.py.
#pragma once

#include <string>
#include <vector>

namespace blinknet {

// Linux's `0-2,5` as numbers.
std::vector<int> CoreList(const std::string& text);

// What tracker/device.py reads as a Description, in JSON.
//
// Under `emulated`, /proc/cpuinfo and the clock may be those of the machine that emulates: features are then
// what the processor itself tells the process, and there is neither clock nor temperature.
std::string Describe(bool emulated);

}  // namespace blinknet
