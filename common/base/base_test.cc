#include <gtest/gtest.h>

#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "common/base/ids.h"

namespace sluice {
namespace {

TEST(UuidTest, TextFormRoundTrips) {
  const Uuid u = Uuid::Random();
  EXPECT_EQ(Uuid::Parse(u.ToString()).value(), u);
  EXPECT_EQ(u.version(), 4);
  EXPECT_EQ(Uuid::Parse("01234567-89AB-cdef-0123-456789abcdef")->ToString(),
            "01234567-89ab-cdef-0123-456789abcdef");
}

TEST(UuidTest, MalformedTextIsRefusedAndQuoted) {
  for (const char* text :
       {"", "0123", "01234567-89ab-cdef-0123-456789abcdeg",
        "0123456789ab-cdef-0123-456789abcdef-01", "{1234567-89ab-cdef-0123-456789abcdef"}) {
    const absl::Status s = Uuid::Parse(text).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(s.message().find(text), absl::string_view::npos) << text;
  }
}

TEST(UuidTest, TimeOrderedCarriesItsTimeAndNeverDecreases) {
  const Uuid a = Uuid::TimeOrdered(1'800'000'000'123);
  EXPECT_EQ(a.unix_millis(), 1'800'000'000'123);
  EXPECT_EQ(a.version(), 7);
  EXPECT_GE(Uuid::TimeOrdered(1'700'000'000'000).unix_millis(), a.unix_millis());
}

// The check value of the CRC catalogue: "123456789" -> e3069283.
TEST(Crc32cTest, MatchesTheCatalogueAndContinues) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c("6789", Crc32c("12345")), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(DecoderTest, ReadsPastTheEndAreReportedNotPerformed) {
  std::string bytes;
  PutFixed<uint32_t>(&bytes, 7);
  PutBigEndian64(&bytes, 9);
  Decoder d(bytes);
  EXPECT_EQ(d.Fixed<uint32_t>(), 7u);
  EXPECT_EQ(d.BigEndian64(), 9u);
  EXPECT_TRUE(d.ok());
  EXPECT_EQ(d.Fixed<uint8_t>(), 0u);
  EXPECT_FALSE(d.ok());
}

}  // namespace
}  // namespace sluice
