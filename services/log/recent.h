// A map that forgets: at least the last `most` keys that were put are in it, at most twice as many.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace sluice::log {

template <class Key, class Value>
class Recent {
 public:
  explicit Recent(size_t most) : most_(most) {}

  // Null if it is not there, or not any more. Valid until the next Put.
  const Value* Find(const Key& key) const {
    if (const auto it = young_.find(key); it != young_.end()) return &it->second;
    if (const auto it = old_.find(key); it != old_.end()) return &it->second;
    return nullptr;
  }
  void Put(const Key& key, Value value) {
    if (young_.size() >= most_ && !young_.contains(key)) {
      old_ = std::move(young_);
      young_.clear();
    }
    young_.insert_or_assign(key, std::move(value));
  }

 private:
  size_t most_;
  absl::flat_hash_map<Key, Value> young_;
  absl::flat_hash_map<Key, Value> old_;
};

}  // namespace sluice::log
