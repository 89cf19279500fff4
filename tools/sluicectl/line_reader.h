// Lines of a file or a pipe, in place and without copying, as fast as memory is read. Used by one
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::ctl {

class LineReader {
 public:
  // Reads from `fd`, which it does not close. `padding` bytes after each line are readable.
  LineReader(int fd, size_t padding);

  // The next line that is not blank, without its line break; valid until the next call. nullopt at
  // the end. INVALID_ARGUMENT for a line over 64 MiB; other errors are those of reading.
  absl::StatusOr<std::optional<std::string_view>> Next();
  // Whether Next can answer at once. False: it would wait for whoever writes into the pipe.
  bool ready() const;
  // Of the line last returned, from 1.
  uint64_t line_number() const { return line_number_; }
  // From any thread.
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  // Reads more behind what is there; false at the end of the input.
  absl::StatusOr<bool> Fill();

  const int fd_;
  const size_t padding_;
  std::vector<char> buffer_;
  size_t begin_ = 0;  // of what was read and not returned
  size_t end_ = 0;
  uint64_t line_number_ = 0;
  std::atomic<uint64_t> bytes_read_ = 0;
  bool at_end_ = false;
};

}  // namespace sluice::ctl
