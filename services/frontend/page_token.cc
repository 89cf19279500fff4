#include "services/frontend/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

constexpr uint8_t kVersion = 1;

absl::Status Invalid(std::string_view what) {
  return MakeError(Reason::INVALID_REQUEST,
                   absl::StrCat("page_token: ", absl::string_view(what.data(), what.size())),
                   {{"field", "page_token"}});
}

}  // namespace

// base64url of: version (1 byte), collection (16), incarnation (8), hash of the last id (high 8,
// low 8), CRC32C of all that (4); little-endian.
std::string EncodePageToken(const PageToken& token) {
  std::string bytes;
  PutFixed(&bytes, kVersion);
  bytes += token.collection.view();
  PutFixed(&bytes, token.incarnation.value);
  PutFixed(&bytes, token.after.high);
  PutFixed(&bytes, token.after.low);
  PutFixed(&bytes, Crc32c(bytes));
  return absl::WebSafeBase64Escape(bytes);
}

absl::StatusOr<IdHash> DecodePageToken(std::string_view text, const CollectionId& collection,
                                       Incarnation incarnation) {
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(absl::string_view(text.data(), text.size()), &bytes)) {
    return Invalid("not a token of ours");
  }
  Decoder in(bytes);
  const auto version = in.Fixed<uint8_t>();
  const std::string_view its_collection = in.Bytes(16);
  const Incarnation its_incarnation(in.Fixed<uint64_t>());
  IdHash after;
  after.high = in.Fixed<uint64_t>();
  after.low = in.Fixed<uint64_t>();
  const std::string_view checked(bytes.data(), bytes.size() - in.rest().size());
  const auto crc = in.Fixed<uint32_t>();
  if (!in.ok() || !in.rest().empty() || version != kVersion || crc != Crc32c(checked)) {
    return Invalid("not a token of ours");
  }
  if (its_collection != collection.view()) return Invalid("of another collection");
  if (its_incarnation != incarnation) {
    return MakeError(Reason::INCARNATION_CHANGED,
                     "page_token: the log was restored from a backup since; begin anew",
                     {{"incarnation", absl::StrCat(incarnation.value)}});
  }
  return after;
}

}  // namespace sluice::frontend
