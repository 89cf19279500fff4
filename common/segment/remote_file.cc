#include "common/segment/remote_file.h"

#include <utility>

#include "common/base/check.h"
#include "common/errors/errors.h"

namespace sluice {

const RemoteFile::Piece* RemoteFile::Find(uint64_t offset, uint64_t bytes) const {
  for (const Piece& piece : held_) {
    if (offset >= piece.offset && offset + bytes <= piece.offset + piece.bytes.size()) {
      return &piece;
    }
  }
  return nullptr;
}

absl::Status RemoteFile::Hold(uint64_t offset, uint64_t bytes) {
  if (Find(offset, bytes) != nullptr) return absl::OkStatus();
  SLUICE_ASSIGN_OR_RETURN(std::string read, Read(offset, bytes));
  held_.push_back({.offset = offset, .bytes = std::move(read)});
  return absl::OkStatus();
}

absl::StatusOr<std::string> RemoteFile::Read(uint64_t offset, uint64_t bytes) const {
  SLUICE_CHECK(offset <= size_ && bytes <= size_ - offset);
  if (const Piece* const piece = Find(offset, bytes)) {
    return piece->bytes.substr(offset - piece->offset, bytes);
  }
  SLUICE_ASSIGN_OR_RETURN(std::string read, read_(offset, bytes));
  SLUICE_CHECK(read.size() == bytes);
  return read;
}

}  // namespace sluice
