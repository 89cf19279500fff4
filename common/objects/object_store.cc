#include "common/objects/object_store.h"

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

// Of one part; file systems allow 255.
constexpr size_t kMaxPartBytes = 200;

}  // namespace

absl::Status CheckObjectName(std::string_view name) {
  size_t part = 0;
  bool good = true;
  for (const char c : name) {
    const bool is_slash = c == '/';
    good &= is_slash ? part > 0 : (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    part = is_slash ? 0 : part + 1;
    good &= part <= kMaxPartBytes;
  }
  if (good && part > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("not an object's name: '", std::string(name), "'"));
}

absl::Status WrongSize(std::string_view object, uint64_t bytes, uint64_t expected) {
  return MakeError(
      Reason::SEGMENT_CORRUPT,
      absl::StrCat("object ", std::string(object), " has ", bytes, " bytes instead of ", expected),
      {{"object", std::string(object)}});
}

}  // namespace sluice
