// An emulator runs a program's instructions as one processor, and shows it the /proc/cpuinfo of another: of the
// machine that it runs on itself (qemu's user mode before version 9). The kernel's capability bits and x86's
// cpuid are the emulated processor's own.

#include "processor.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstring>
#else
#include <sys/auxv.h>
#endif

namespace blinknet {
namespace {

#if defined(__x86_64__)

struct Bit {
  const char* name;
  unsigned leaf;
  int word;  // 0 to 3: eax, ebx, ecx, edx
  int bit;
};

// Intel's Software Developer's Manual, volume 2, CPUID.
constexpr Bit kBits[] = {
    {"pni", 1, 2, 0},           {"ssse3", 1, 2, 9},        {"fma", 1, 2, 12},          {"cx16", 1, 2, 13},
    {"sse4_1", 1, 2, 19},       {"sse4_2", 1, 2, 20},      {"movbe", 1, 2, 22},        {"popcnt", 1, 2, 23},
    {"xsave", 1, 2, 26},        {"avx", 1, 2, 28},         {"f16c", 1, 2, 29},         {"sse", 1, 3, 25},
    {"sse2", 1, 3, 26},         {"bmi1", 7, 1, 3},         {"avx2", 7, 1, 5},          {"bmi2", 7, 1, 8},
    {"avx512f", 7, 1, 16},      {"avx512dq", 7, 1, 17},    {"avx512cd", 7, 1, 28},     {"avx512bw", 7, 1, 30},
    {"avx512vl", 7, 1, 31},     {"avx512_vnni", 7, 2, 11}, {"lahf_lm", 0x80000001, 2, 0}, {"abm", 0x80000001, 2, 5},
};

#else

using Names = std::vector<const char*>;

// Linux's names of the bits of AT_HWCAP and AT_HWCAP2, from the lowest; null where a bit has none.
#if defined(__aarch64__)
const Names kFirst = {"fp",    "asimd",   "evtstrm", "aes",      "pmull",  "sha1",   "sha2", "crc32",
                      "atomics", "fphp",  "asimdhp", "cpuid",    "asimdrdm", "jscvt", "fcma", "lrcpc",
                      "dcpop", "sha3",    "sm3",     "sm4",      "asimddp", "sha512", "sve", "asimdfhm",
                      "dit",   "uscat",   "ilrcpc",  "flagm",    "ssbs",   "sb",     "paca", "pacg"};
const Names kSecond = {"dcpodp",   "sve2",      "sveaes",   "svepmull", "svebitperm", "svesha3", "svesm4",
                       "flagm2",   "frint",     "svei8mm",  "svef32mm", "svef64mm",   "svebf16", "i8mm",
                       "bf16",     "dgh",       "rng",      "bti",      "mte"};
#elif defined(__arm__)
const Names kFirst = {"swp",   "half",  "thumb",   "26bit",  "fastmult", "fpa",   "vfp",   "edsp",
                      "java",  "iwmmxt", "crunch", "thumbee", "neon",    "vfpv3", "vfpv3d16", "tls",
                      "vfpv4", "idiva", "idivt",   "vfpd32", "lpae",     "evtstrm"};
const Names kSecond = {"aes", "pmull", "sha1", "sha2", "crc32"};
#elif defined(__riscv)
const Names kFirst = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m",
                      "n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"};
const Names kSecond = {};
#else
#error "this architecture's features have no names here: add them to processor.cc"
#endif

void Append(std::vector<std::string>& features, unsigned long bits, const Names& names) {
  for (std::size_t index = 0; index < names.size(); ++index) {
    if (bits >> index & 1) features.emplace_back(names[index]);
  }
}

#endif

}  // namespace

std::vector<std::string> ProcessorFeatures() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  for (const Bit& each : kBits) {
    unsigned words[4] = {};
    const bool known = __get_cpuid_count(each.leaf, 0, &words[0], &words[1], &words[2], &words[3]);
    if (known && words[each.word] >> each.bit & 1) features.emplace_back(each.name);
  }
#else
  Append(features, getauxval(AT_HWCAP), kFirst);
  Append(features, getauxval(AT_HWCAP2), kSecond);
#endif
  return features;
}

std::string ProcessorName() {
  if (const char* name = std::getenv("QEMU_CPU")) return name;
#if defined(__x86_64__)
  unsigned words[12] = {};
  for (unsigned part = 0; part < 3; ++part) {
    unsigned* into = words + 4 * part;
    if (!__get_cpuid(0x80000002 + part, &into[0], &into[1], &into[2], &into[3])) return "";
  }
  return std::string(reinterpret_cast<const char*>(words), strnlen(reinterpret_cast<const char*>(words), sizeof words));
#else
  return "";
#endif
}

}  // namespace blinknet
