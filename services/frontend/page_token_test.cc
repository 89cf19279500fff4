#include "services/frontend/page_token.h"

#include <gtest/gtest.h>

#include "common/errors/errors.h"

namespace sluice::frontend {
namespace {

const CollectionId kCollection(Uuid::FromBytes("0123456789abcdef"));
const CollectionId kOther(Uuid::FromBytes("fedcba9876543210"));
const Incarnation kIncarnation(77);
const IdHash kAfter{.high = 0x0102030405060708, .low = 9};

std::string Token() {
  return EncodePageToken({.collection = kCollection, .incarnation = kIncarnation, .after = kAfter});
}

TEST(PageTokenTest, LeadsBackToItsPlace) {
  const absl::StatusOr<IdHash> after = DecodePageToken(Token(), kCollection, kIncarnation);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(*after, kAfter);
}

// The format: tokens outlive a release of the software.
TEST(PageTokenTest, HasItsGoldenForm) {
  EXPECT_EQ(Token(), "ATAxMjM0NTY3ODlhYmNkZWZNAAAAAAAAAAgHBgUEAwIBCQAAAAAAAABonj0E");
}

TEST(PageTokenTest, IsRefusedWhenAnyCharacterWasChanged) {
  const std::string token = Token();
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(ReasonOf(DecodePageToken(changed, kCollection, kIncarnation).status()),
              Reason::INVALID_REQUEST)
        << i;
  }
  for (const char* wrong : {"x", "not base64!", "AAAA"}) {
    EXPECT_EQ(ReasonOf(DecodePageToken(wrong, kCollection, kIncarnation).status()),
              Reason::INVALID_REQUEST);
  }
}

TEST(PageTokenTest, BelongsToItsCollectionAndIncarnation) {
  const absl::Status other = DecodePageToken(Token(), kOther, kIncarnation).status();
  EXPECT_EQ(ReasonOf(other), Reason::INVALID_REQUEST);
  EXPECT_EQ(ErrorMetadata(other, "field"), "page_token");
  EXPECT_EQ(ReasonOf(DecodePageToken(Token(), kCollection, Incarnation(78)).status()),
            Reason::INCARNATION_CHANGED);
}

}  // namespace
}  // namespace sluice::frontend
