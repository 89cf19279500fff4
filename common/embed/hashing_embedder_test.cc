#include "common/embed/hashing_embedder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "common/base/crc32c.h"
#include "common/embed/words.h"

namespace sluice {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

const HashingEmbedder kEmbedder(HashingEmbedder::kDefaultDimension);

float Similarity(std::string_view a, std::string_view b) {
  const std::vector<float> x = kEmbedder.Embed(a);
  const std::vector<float> y = kEmbedder.Embed(b);
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0f);
}

std::vector<std::string> DistinctWords(std::string_view text) {
  const Words words = WordsOf(text);
  std::vector<std::string> list;
  for (const Word& word : words.distinct) list.push_back(words.text.substr(word.begin, word.size));
  return list;
}

// Vectors are stored in segments and compared with those of later queries: these values must never
// change.
TEST(HashingEmbedderTest, GoldenComponentsAreTheSameOnEveryMachine) {
  const std::vector<float> vector =
      kEmbedder.Embed("The quick brown fox; the web server of Zürich, 東京!");
  EXPECT_EQ(vector[1], -0.0863424763f);
  EXPECT_EQ(vector[8], 0.122254841f);
  EXPECT_EQ(vector[12], -0.0556034818f);
  EXPECT_EQ(vector[0], 0.0f);
  EXPECT_EQ(Crc32c({reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)}),
            2469094585u);
}

TEST(HashingEmbedderTest, VectorsAreOfTheDimensionAndOfLengthOne) {
  for (const uint32_t dimension : {1u, 7u, 384u, 8192u}) {
    const std::vector<float> v = HashingEmbedder(dimension).Embed("a web server, small and fast");
    ASSERT_THAT(v, SizeIs(dimension));
    EXPECT_NEAR(std::inner_product(v.begin(), v.end(), v.begin(), 0.0), 1, 1e-6) << dimension;
  }
}

TEST(HashingEmbedderTest, ATextWithoutAWordIsAllZeros) {
  for (const char* text : {"", " ", "-- \n\t ... !"}) {
    EXPECT_THAT(kEmbedder.Embed(text), Each(0.0f)) << text;
  }
}

TEST(HashingEmbedderTest, CaseAndPunctuationDoNotMatter) {
  EXPECT_FLOAT_EQ(Similarity("web server", "Web, SERVER!"), 1);
}

TEST(HashingEmbedderTest, ATextIsNearestToThoseThatShareItsWords) {
  const char* query = "web server";
  const float server = Similarity(query, "nginx: small, powerful, scalable web/proxy server");
  const float browser = Similarity(query, "A web browser for the desktop, with tabs and bookmarks");
  const float editor = Similarity(query, "gimp: an image editor for photos and drawings");
  EXPECT_GT(server, browser);
  EXPECT_GT(browser, editor);
  EXPECT_LT(editor, 0.2f);
}

TEST(HashingEmbedderTest, SpellingsOfAWordAreNearEachOther) {
  EXPECT_GT(Similarity("compression", "compressed"), 0.25f);
  EXPECT_GT(Similarity("image editor", "image editing"),
            Similarity("image editor", "image server"));
  EXPECT_GT(Similarity("browser", "browzer"), Similarity("browser", "server"));
}

TEST(HashingEmbedderTest, StopWordsCountLittle) {
  EXPECT_GT(Similarity("the history of the city", "history city"), 0.9f);
  EXPECT_LT(Similarity("the history of the city", "the taste of the soup"), 0.2f);
}

TEST(HashingEmbedderTest, WordsAtTheStartCountMost) {
  const std::string filler =
      " among many other things that nobody ever looks for in such a long text as this one, of "
      "which there is more and more, line after "
      "line, until it ends with something";
  EXPECT_GT(Similarity("compiler", "compiler" + filler),
            Similarity("compiler", filler + " compiler"));
}

TEST(HashingEmbedderTest, RepetitionCountsLessEachTime) {
  const float once = Similarity("chess", "chess engine");
  const float twice = Similarity("chess", "chess chess engine");
  const float often = Similarity("chess", "chess chess chess chess engine");
  EXPECT_GT(twice, once);
  EXPECT_GT(often, twice);
  EXPECT_LT(often - twice, twice - once);
}

TEST(HashingEmbedderTest, LongTextsAndLongWordsAreFine) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "word" + std::to_string(i) + " ";
  EXPECT_NEAR(Similarity(text, text), 1, 1e-5);
  const std::string word(1 << 20, 'x');
  EXPECT_NEAR(Similarity(word, word), 1, 1e-5);
}

TEST(WordsTest, WordsAreRunsOfLettersAndDigitsEachOnce) {
  EXPECT_THAT(DistinctWords("C++17 and c; Über-Café 東京, AND so on"),
              ElementsAre("c", "17", "and", "Über", "café", "東京", "so", "on"));
}

TEST(WordsTest, EveryWordHasABlankOnEitherSideAndRoomToReadBehindIt) {
  const Words words = WordsOf("x");
  EXPECT_EQ(words.text, " x" + std::string(Words::kBlanksAtEnd, ' '));
  EXPECT_EQ(words.distinct.at(0).begin, 1u);
}

TEST(WordsTest, EveryStopWordIsShortEnoughToBeFound) {
  for (const char* word : {"the", "of", "without", "a", "your"}) {
    EXPECT_TRUE(IsStopWord(WordsOf(word).distinct.at(0))) << word;
  }
  EXPECT_FALSE(IsStopWord(WordsOf("server").distinct.at(0)));
}

}  // namespace
}  // namespace sluice
