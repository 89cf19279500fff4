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
  std::string read;
  SLUICE_ASSIGN_OR_RETURN(const std::string_view view, View(offset, bytes, &read));
  if (view.data() == read.data()) return read;
  return std::string(view);
}

absl::StatusOr<std::string_view> RemoteFile::View(uint64_t offset, uint64_t bytes,
                                                  std::string* storage) const {
  SLUICE_CHECK(offset <= size_ && bytes <= size_ - offset);
  if (const Piece* const piece = Find(offset, bytes)) {
    return std::string_view(piece->bytes).substr(offset - piece->offset, bytes);
  }
  SLUICE_ASSIGN_OR_RETURN(*storage, read_(offset, bytes));
  SLUICE_CHECK(storage->size() == bytes);
  return *storage;
}

}  // namespace sluice
