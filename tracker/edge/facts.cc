#include "facts.h"

#include <sys/utsname.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <sstream>

#include "memory.h"
#include "posix.h"
#include "processor.h"

namespace blinknet {
namespace {

std::string Trimmed(const std::string& text) {
  const char* blank = " \t\r\n";
  const auto first = text.find_first_not_of(blank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

// The first value of the first name that `name : value` lines have, or the empty text.
std::string Field(const std::string& text, std::initializer_list<const char*> names) {
  for (const std::string name : names) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const auto colon = line.find(':');
      if (colon == std::string::npos || Trimmed(line.substr(0, colon)) != name) continue;
      if (const std::string value = Trimmed(line.substr(colon + 1)); !value.empty()) return value;
    }
  }
  return "";
}

std::vector<std::string> Words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// By name; of RISC-V's `rv64imafdc_zicsr` one letter each, then the extensions with names.
std::vector<std::string> ListedFeatures(const std::string& cpuinfo) {
  if (const std::string flags = Field(cpuinfo, {"flags", "Features"}); !flags.empty()) return Words(flags);
  std::istringstream parts(Field(cpuinfo, {"isa"}));
  std::string part;
  std::getline(parts, part, '_');
  if (part.compare(0, 4, "rv64") == 0) part.erase(0, 4);
  std::vector<std::string> features;
  for (char letter : part) features.emplace_back(1, letter);
  while (std::getline(parts, part, '_')) features.push_back(part);
  return features;
}

std::optional<double> Scaled(const std::string& text, double factor) {
  if (Trimmed(text).empty()) return std::nullopt;
  return std::strtod(text.c_str(), nullptr) * factor;
}

std::optional<double> ClockHz(const std::string& cpuinfo, int core) {
  const std::string scaling = "/sys/devices/system/cpu/cpu" + std::to_string(core) + "/cpufreq/scaling_cur_freq";
  const std::optional<double> now = Scaled(ReadText(scaling), 1e3);
  return now ? now : Scaled(Field(cpuinfo, {"cpu MHz"}), 1e6);
}

std::string Json(const std::string& text) {
  std::string json = "\"";
  for (const char each : text) {
    char escape[8];
    const bool plain = static_cast<unsigned char>(each) >= 0x20;
    if (!plain) std::snprintf(escape, sizeof escape, "\\u%04x", each);
    if (each == '"' || each == '\\') json += '\\';
    json += plain ? std::string(1, each) : escape;
  }
  return json + "\"";
}

std::string Json(long long number) { return std::to_string(number); }

std::string Json(const std::optional<double>& number) {
  if (!number) return "null";
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", *number);
  return text;
}

template <typename Item>
std::string Json(const std::vector<Item>& items) {
  std::string json;
  for (const Item& each : items) json += (json.empty() ? "" : ", ") + Json(each);
  return "[" + json + "]";
}

}  // namespace

std::vector<int> CoreList(const std::string& text) {
  std::istringstream parts(text);
  std::vector<int> cores;
  for (std::string part; std::getline(parts, part, ',');) {
    const auto dash = part.find('-');
    const int first = std::atoi(part.c_str());
    const int last = dash == std::string::npos ? first : std::atoi(part.c_str() + dash + 1);
    for (int core = first; core <= last && !Trimmed(part).empty(); ++core) cores.push_back(core);
  }
  return cores;
}

std::string Describe(bool emulated) {
  utsname system{};
  uname(&system);
  const std::string cpuinfo = ReadText("/proc/cpuinfo");
  const std::vector<int> timing_cores = CoreList(Field(ReadText("/proc/self/status"), {"Cpus_allowed_list"}));
  const int64_t memory_bytes = Kilobytes("/proc/meminfo", "MemTotal");
  if (timing_cores.empty() || memory_bytes == 0) {
    throw std::runtime_error("the device shows no Linux /proc; run its agent on Linux, with /proc mounted");
  }
  const std::size_t cores = CoreList(ReadText("/sys/devices/system/cpu/present")).size();
  const std::string cpu = emulated ? ProcessorName() : Field(cpuinfo, {"model name", "Model", "Hardware", "uarch"});
  const std::string temperature = ReadText("/sys/class/thermal/thermal_zone0/temp");
  const std::optional<double> none;
  return "{\"architecture\": " + Json(std::string(system.machine)) +
         ", \"cpu\": " + Json(cpu) +
         ", \"features\": " + Json(emulated ? ProcessorFeatures() : ListedFeatures(cpuinfo)) +
         ", \"cores\": " + Json(static_cast<long long>(cores ? cores : timing_cores.size())) +
         ", \"memory_bytes\": " + Json(static_cast<long long>(memory_bytes)) +
         ", \"clock_hz\": " + Json(emulated ? none : ClockHz(cpuinfo, timing_cores[0])) +
         ", \"temperature_c\": " + Json(emulated ? none : Scaled(temperature, 1e-3)) +
         ", \"host\": " + Json(Trimmed(ReadText("/proc/sys/kernel/random/boot_id"))) +
         ", \"timing_cores\": " + Json(timing_cores) +
         ", \"pid\": " + Json(static_cast<long long>(getpid())) +
         ", \"agent\": \"blinknet\", \"emulated\": " + (emulated ? "true" : "false") + "}";
}

}  // namespace blinknet
