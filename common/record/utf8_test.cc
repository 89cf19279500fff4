#include "common/record/utf8.h"

#include <google/protobuf/stubs/common.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace sluice {
namespace {

// The oracle: what protobuf itself checks strings with.
bool ProtobufAccepts(const std::string& text) {
  return google::protobuf::internal::IsStructurallyValidUTF8(text.data(),
                                                             static_cast<int>(text.size()));
}

TEST(Utf8Test, AgreesWithProtobufOnEveryShortSequence) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      for (const char* rest : {"", "\x80", "\x80\x80", "\xbf\xbf", "\xc0", "a", "\x80\x80\x80"}) {
        const std::string text =
            std::string{static_cast<char>(first), static_cast<char>(second)} + rest;
        ASSERT_EQ(IsValidUtf8(text), ProtobufAccepts(text)) << first << " " << second << rest;
      }
    }
  }
}

TEST(Utf8Test, AgreesWithProtobufOnSpoiledTextAtEveryAlignment) {
  std::mt19937 random(1);
  const std::string text =
      "plain words of more than thirty-two bytes, then Grüße, Ελλάδα, 東京都, \U0001F600; and more "
      "plain words at the end of it";
  for (size_t at = 0; at < text.size(); ++at) {
    for (int i = 0; i < 20; ++i) {
      std::string spoiled = text;
      spoiled[at] = static_cast<char>(random());
      for (const size_t skip : {0, 1, 5}) {
        const std::string part = spoiled.substr(skip);
        ASSERT_EQ(IsValidUtf8(part), ProtobufAccepts(part)) << part;
      }
    }
    ASSERT_EQ(IsValidUtf8(text.substr(0, at)), ProtobufAccepts(text.substr(0, at))) << at;
  }
}

}  // namespace
}  // namespace sluice
