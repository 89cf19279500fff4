// Between libFuzzer and a target.
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/fuzz.h"

// The first argument that is no flag is the folder of inputs: the seeds are put there.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i) {
    const char* const argument = (*argv)[i];
    if (argument[0] == '-' || !std::filesystem::is_directory(argument)) continue;
    int number = 0;
    for (const std::string& seed : sluice::testing::FuzzSeeds()) {
      std::ofstream(std::filesystem::path(argument) / ("seed-" + std::to_string(number++)),
                    std::ios::binary)
          << seed;
    }
    break;
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
