// A segment's file that lies elsewhere and is read by range. While a segment is opened, pieces of
// it are held, so that the many small reads of that need few ranges: one thread until then;
// afterwards thread-safe. Errors are those of the range.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace sluice {

class RemoteFile {
 public:
  using ReadRange = std::function<absl::StatusOr<std::string>(uint64_t offset, uint64_t bytes)>;

  RemoteFile(ReadRange read, uint64_t size) : read_(std::move(read)), size_(size) {}

  // Reads that many bytes at `offset`, which lie within the file, unless a piece has them.
  absl::Status Hold(uint64_t offset, uint64_t bytes);
  void LetGo() { held_.clear(); }
  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) const;
  // The same without a copy: of a piece, until LetGo, or else of `*storage`.
  absl::StatusOr<std::string_view> View(uint64_t offset, uint64_t bytes,
                                        std::string* storage) const;

 private:
  struct Piece {
    uint64_t offset = 0;
    std::string bytes;
  };
  // nullptr: none that is held has all of it.
  const Piece* Find(uint64_t offset, uint64_t bytes) const;

  const ReadRange read_;
  const uint64_t size_;
  // Which stay where they are.
  std::list<Piece> held_;
};

}  // namespace sluice
