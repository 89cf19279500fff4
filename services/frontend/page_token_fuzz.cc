// Page tokens as clients hand them back: only what we made is taken.
#include "common/base/check.h"
#include "services/frontend/page_token.h"
#include "tests/support/fuzz.h"

namespace sluice::testing {
namespace {

const CollectionId kCollection(*Uuid::Parse("00112233-4455-6677-8899-aabbccddeeff"));
constexpr Incarnation kIncarnation(77);

std::string Token() {
  return frontend::EncodePageToken(
      {.collection = kCollection, .incarnation = kIncarnation, .after = {1, 2}});
}

void Try(std::string_view text) {
  const auto after = frontend::DecodePageToken(text, kCollection, kIncarnation);
  if (after.ok()) SLUICE_CHECK(*after == (IdHash{1, 2}));
}

}  // namespace

void FuzzOne(std::string_view input) {
  Try(input);
  Try(Damaged(Token(), input));
}

std::vector<std::string> FuzzSeeds() { return {"", Token(), "AAAA", "not base64!"}; }

}  // namespace sluice::testing
