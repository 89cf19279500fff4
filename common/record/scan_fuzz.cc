// A target for libFuzzer: scanner and reference must agree on any bytes. The differential test runs
// it too.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/record/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string push(reinterpret_cast<const char*>(data), size);
  if (!sluice::CompareWithReference(push).empty()) std::abort();
  return 0;
}
