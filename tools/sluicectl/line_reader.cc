#include "tools/sluicectl/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice::ctl {
namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kMaxLineBytes = 64 << 20;

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

LineReader::LineReader(int fd, size_t padding)
    : fd_(fd), padding_(padding), buffer_(kReadBytes + padding) {}

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  size_t searched = begin_;
  for (;;) {
    const char* from = buffer_.data() + searched;
    const void* found = std::memchr(from, '\n', end_ - searched);
    if (found || (at_end_ && begin_ < end_)) {
      const size_t stop =
          found ? static_cast<size_t>(static_cast<const char*>(found) - buffer_.data()) : end_;
      const std::string_view line(buffer_.data() + begin_, stop - begin_);
      begin_ = searched = found ? stop + 1 : end_;
      ++line_number_;
      if (!IsBlank(line)) return line;
      continue;
    }
    if (at_end_) return std::nullopt;
    searched = end_ - begin_;  // Fill moves what is left to the front.
    SLUICE_ASSIGN_OR_RETURN(const bool more, Fill());
    at_end_ = !more;
  }
}

absl::StatusOr<bool> LineReader::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ > kMaxLineBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a line of more than ", kMaxLineBytes, " bytes"));
  }
  if (buffer_.size() - padding_ - end_ < kReadBytes) buffer_.resize(2 * buffer_.size());
  ssize_t n;
  do {
    n = read(fd_, buffer_.data() + end_, buffer_.size() - padding_ - end_);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return absl::ErrnoToStatus(errno, "read");
  end_ += static_cast<size_t>(n);
  bytes_read_ += static_cast<uint64_t>(n);
  return n > 0;
}

bool LineReader::ready() const {
  if (at_end_ || std::memchr(buffer_.data() + begin_, '\n', end_ - begin_)) return true;
  pollfd input{fd_, POLLIN, 0};
  return poll(&input, 1, 0) != 0;
}

}  // namespace sluice::ctl
