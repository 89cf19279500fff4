// A fuzz target: one file beside the code that it is about, which defines the two functions below.
// sluice_fuzz (CMake) makes two programs of it: X_test, which is part of the default suite and
// tries the seeds and what a second of mutation makes of them (fuzz_test.cc); and X, run by
// libFuzzer (fuzz_engine.cc, `tools/dev fuzz`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::testing {

// Tries any bytes: must come back without crashing, without allocating much more than the input is
// long, and aborts (SLUICE_CHECK) if something that must hold does not.
void FuzzOne(std::string_view input);

// Inputs to begin with: small, and such that every part of the code is reached. An input that once
// crashed stays here.
std::vector<std::string> FuzzSeeds();

// `valid`, damaged as `edits` says: any number of {u16 place, u8 what, u8 value}: a byte set, a bit
// flipped, the rest cut off, bytes inserted or taken out, a 4-byte number replaced by a large one.
// No edits leave it as it is.
std::string Damaged(std::string valid, std::string_view edits);

// A file in memory where the machine has such a place: for code that wants a path.
class FuzzFile {
 public:
  FuzzFile();
  ~FuzzFile();
  FuzzFile(const FuzzFile&) = delete;
  FuzzFile& operator=(const FuzzFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void Write(std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

// An empty folder in such a place, for the life of the process.
std::filesystem::path FuzzFolder();

}  // namespace sluice::testing
