#include "tools/sluicectl/line_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace sluice::ctl {
namespace {

// A pipe whose writing end is closed by CloseWriter.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(fds_, O_CLOEXEC), 0); }
  ~Pipe() {
    close(fds_[0]);
    CloseWriter();
  }
  int reader() const { return fds_[0]; }
  void Write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = write(fds_[1], text.data(), text.size());
      ASSERT_GT(n, 0);
      text.remove_prefix(static_cast<size_t>(n));
    }
  }
  void CloseWriter() {
    if (fds_[1] >= 0) close(fds_[1]);
    fds_[1] = -1;
  }

 private:
  int fds_[2];
};

std::vector<std::string> ReadAll(const std::string& text) {
  Pipe pipe;
  std::jthread writer([&] {
    pipe.Write(text);
    pipe.CloseWriter();
  });
  LineReader reader(pipe.reader(), 64);
  std::vector<std::string> lines;
  for (;;) {
    const auto line = reader.Next();
    EXPECT_TRUE(line.ok()) << line.status();
    if (!line.ok() || !line->has_value()) return lines;
    lines.emplace_back(**line);
  }
}

TEST(LineReaderTest, LinesComeInOrderAndTheLastNeedsNoLineBreak) {
  EXPECT_THAT(ReadAll("a\nb\nc"), testing::ElementsAre("a", "b", "c"));
  EXPECT_THAT(ReadAll("a\n"), testing::ElementsAre("a"));
  EXPECT_THAT(ReadAll(""), testing::IsEmpty());
}

TEST(LineReaderTest, LinesLongerThanABufferAreWhole) {
  const std::string longest(5'000'000, 'x');
  EXPECT_THAT(ReadAll("a\n" + longest + "\nb\n"), testing::ElementsAre("a", longest, "b"));
}

TEST(LineReaderTest, BlankLinesAreCountedAndLeftOut) {
  Pipe pipe;
  pipe.Write("a\n\n \t\r\nb\n");
  pipe.CloseWriter();
  LineReader reader(pipe.reader(), 64);
  EXPECT_EQ(**reader.Next(), "a");
  EXPECT_EQ(reader.line_number(), 1u);
  EXPECT_EQ(**reader.Next(), "b");
  EXPECT_EQ(reader.line_number(), 4u);
}

TEST(LineReaderTest, ItKnowsWhetherNextWouldWait) {
  Pipe pipe;
  LineReader reader(pipe.reader(), 64);
  EXPECT_FALSE(reader.ready());
  pipe.Write("a\nb\n");
  EXPECT_TRUE(reader.ready());
  EXPECT_EQ(**reader.Next(), "a");
  EXPECT_TRUE(reader.ready());
  EXPECT_EQ(**reader.Next(), "b");
  EXPECT_FALSE(reader.ready());
  pipe.CloseWriter();
  EXPECT_TRUE(reader.ready());
  EXPECT_EQ(*reader.Next(), std::nullopt);
}

}  // namespace
}  // namespace sluice::ctl
