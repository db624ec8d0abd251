#include "functions.h"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <vector>

#include "facts.h"
#include "memory.h"
#include "posix.h"

namespace blinknet {
namespace {

namespace ffi = tvm::ffi;

[[noreturn]] void Refuse(const std::string& reason) { throw ffi::Error("ValueError", reason, ""); }

// Of a character in UTF-8 that begins so; 0 where none does.
std::size_t Utf8Length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// Text goes to Python, which takes UTF-8 alone: any other byte becomes a question mark.
std::string Utf8(std::string text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = Utf8Length(text[at]);
    bool whole = length > 0 && at + length <= text.size();
    for (std::size_t next = 1; whole && next < length; ++next) whole = (text[at + next] & 0xc0) == 0x80;
    if (!whole) text[at] = '?';
    at += whole ? length : 1;
  }
  return text;
}

ffi::String ReadFile(const std::string& path, bool emulated) {
  return Utf8(path == "/proc/self/smaps" ? OwnMappings(emulated) : ReadText(path));
}

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    table[byte] = byte;
    for (int bit = 0; bit < 8; ++bit) table[byte] = table[byte] >> 1 ^ (table[byte] & 1 ? 0xedb88320u : 0);
  }
  return table;
}

// zlib's CRC-32 of an uploaded file, as 8 hexadecimal digits.
ffi::String Checksum(const std::string& folder, const std::string& name) {
  static constexpr std::array<uint32_t, 256> kTable = MakeCrcTable();
  std::ifstream file(folder + "/" + name, std::ios::binary);
  if (!file || name.find('/') != std::string::npos) Refuse("no file " + name + " was uploaded in this session");
  uint32_t crc = ~0u;
  std::vector<char> block(1 << 16);
  while (file.read(block.data(), block.size()), file.gcount() > 0) {
    for (std::streamsize at = 0; at < file.gcount(); ++at) crc = kTable[(crc ^ block[at]) & 0xff] ^ crc >> 8;
  }
  char text[9];
  std::snprintf(text, sizeof text, "%08x", ~crc);
  return text;
}

// A float32 tensor whose first dimension counts samples.
struct Batch {
  char* data;
  int64_t count;
  std::size_t sample_bytes;

  char* operator[](int64_t index) const { return data + index * sample_bytes; }
};

Batch View(const DLTensor& tensor) {
  const bool floats = tensor.dtype.code == kDLFloat && tensor.dtype.bits == 32 && tensor.dtype.lanes == 1;
  if (!floats || tensor.ndim < 1 || tensor.device.device_type != kDLCPU) {
    Refuse("predict takes float32 tensors in memory whose first dimension counts samples");
  }
  const int64_t each = std::accumulate(tensor.shape + 1, tensor.shape + tensor.ndim, int64_t{1}, std::multiplies<>());
  return {static_cast<char*>(tensor.data) + tensor.byte_offset, tensor.shape[0], each * sizeof(float)};
}

Batch View(const ffi::AnyView& tensor) { return View(*tensor.cast<DLTensor*>()); }

// One sample's answers, into row `index` of each batch.
void Keep(const ffi::Any& answer, const std::vector<Batch>& answers, int64_t index) {
  for (std::size_t output = 0; output < answers.size(); ++output) {
    const bool single = answers.size() == 1;
    const auto tensor = single ? answer.cast<ffi::Tensor>() : answer.cast<ffi::Array<ffi::Tensor>>()[output];
    const Batch result = View(*tensor.GetDLTensorPtr());
    if (result.sample_bytes != answers[output].sample_bytes) Refuse("an answer has another shape than expected");
    std::memcpy(answers[output][index], result.data, result.sample_bytes);
  }
}

// Runs `main(*samples, *parameters)` for every row of `inputs` tensors, here, without a round trip a row.
//
// `tensors`: batches of samples, then batches for the answers, then a sample of each input, then parameters.
void PredictRows(const ffi::Module& machine, int inputs, int outputs, const ffi::PackedArgs& tensors) {
  if (inputs < 1 || outputs < 1 || tensors.size() < 2 * inputs + outputs) Refuse("predict is given too few tensors");
  const ffi::Optional<ffi::Function> main = machine->GetFunction("main");
  if (!main.has_value()) Refuse("the network has no function main");
  std::vector<Batch> given, answers, samples;
  for (int at = 0; at < 2 * inputs + outputs; ++at) {
    (at < inputs ? given : at < inputs + outputs ? answers : samples).push_back(View(tensors[at]));
  }
  const ffi::PackedArgs arguments = tensors.Slice(inputs + outputs);
  for (int64_t index = 0; index < given[0].count; ++index) {
    for (int input = 0; input < inputs; ++input) {
      std::memcpy(samples[input].data, given[input][index], samples[input].sample_bytes);
    }
    ffi::Any answer;
    main.value().CallPacked(arguments, &answer);
    Keep(answer, answers, index);
  }
}

void Predict(const ffi::PackedArgs& arguments, ffi::Any*) {
  PredictRows(arguments[0].cast<ffi::Module>(), 1, 1, arguments.Slice(1));
}

void PredictSeveral(const ffi::PackedArgs& arguments, ffi::Any*) {
  PredictRows(arguments[0].cast<ffi::Module>(), arguments[1].cast<int>(), arguments[2].cast<int>(), arguments.Slice(3));
}

template <typename Callable>
void Register(const std::string& name, Callable function) {
  ffi::Function::SetGlobal(name, ffi::Function::FromTyped(function), true);
}

}  // namespace

void PrepareRuntime(std::size_t cores) {
  // Otherwise TVM pins each process with one thread to core 0, and two devices on one host halve each other.
  setenv("TVM_BIND_THREADS", "0", 0);
  setenv("TVM_NUM_THREADS", std::to_string(cores).c_str(), 0);
}

void ServeSession(int connection, const std::string& folder, bool emulated) {
  const auto path_of = [folder](const ffi::String& name) { return ffi::String(folder + "/" + std::string(name)); };
  Register("tvm.rpc.server.workpath", path_of);
  Register("tvm.rpc.server.load_module", [path_of](const ffi::String& name) {
    return ffi::Module::LoadFromFile(path_of(name));
  });
  Register("blinknet.describe", [emulated] { return ffi::String(Utf8(Describe(emulated))); });
  Register("blinknet.read_text", [emulated](const ffi::String& path) { return ReadFile(path, emulated); });
  Register("blinknet.trim", Trim);
  Register("blinknet.reset_peak", [] {
    if (!ResetPeak()) Refuse("/proc/self/clear_refs cannot be written: this kernel counts no peaks");
  });
  Register("blinknet.peak_bytes", [emulated] { return PeakBytes(emulated); });
  Register("blinknet.resident_bytes", [emulated] { return ResidentBytes(emulated); });
  Register("blinknet.limit_memory", [emulated](int64_t bytes) { return LimitMemory(bytes, emulated); });
  Register("blinknet.checksum", [folder](const ffi::String& name) { return Checksum(folder, name); });
  ffi::Function::SetGlobal("blinknet.predict", ffi::Function::FromPacked(Predict), true);
  ffi::Function::SetGlobal("blinknet.predict_several", ffi::Function::FromPacked(PredictSeveral), true);
  ffi::Function::GetGlobalRequired("rpc.ServerLoop")(connection);
}

void TellExpired(int connection, double timeout_s) {
  char text[80];
  std::snprintf(text, sizeof text, "RPCSessionTimeoutError: the session's %g s are over", timeout_s);
  try {
    ffi::Function::GetGlobalRequired("rpc.ReturnException")(connection, text);
  } catch (const std::exception&) {
    // The client may be gone as well.
  }
}

}  // namespace blinknet
