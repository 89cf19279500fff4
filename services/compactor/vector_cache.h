// Vectors of texts that an embedder elsewhere has embedded before, on the local disk: a text that
// is written again, or that another row has too, is not embedded again. Bounded; the oldest go
// first.
//
// It is a cache: what cannot be read was never there, and once something cannot be written, nothing
// more is, until the process starts again.
//
// Thread-safe. A folder belongs to one process at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace rocksdb {
class DB;
}

namespace sluice::compactor {

// What decides a text's vector: a hash of all of it.
using TextKey = std::array<char, 32>;
TextKey KeyOfText(std::string_view embedder, std::string_view model, uint32_t dimension,
                  std::string_view text);

class VectorCache {
 public:
  // `bytes`: of the disk, about. UNAVAILABLE: the folder is another process's, or cannot be used.
  static absl::StatusOr<std::unique_ptr<VectorCache>> Open(const std::filesystem::path& folder,
                                                           uint64_t bytes);
  ~VectorCache();

  // For each key its vector, of `dimension` components, if it is there.
  std::vector<std::optional<std::vector<float>>> Find(std::span<const TextKey> keys,
                                                      uint32_t dimension) const;

  struct Entry {
    TextKey key;
    std::span<const float> vector;
  };
  void Put(std::span<const Entry> entries);

 private:
  explicit VectorCache(std::unique_ptr<rocksdb::DB> db);

  const std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace sluice::compactor
