#include "services/frontend/segment_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <thread>

#include "common/errors/errors.h"
#include "common/objects/fake_s3.h"
#include "common/objects/settings.h"
#include "common/segment/test_support.h"

namespace sluice::frontend {
namespace {

using Fault = FakeS3::Fault;

class SegmentLoaderTest : public ::testing::Test {
 protected:
  SegmentLoaderTest() {
    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    server::Settings declared;
    settings_.Declare(declared);
    settings_.endpoint = s3_.endpoint();
    settings_.cache = folder_.NewPath();
    objects_ = Must(OpenObjectStore("s3://bucket/segments", settings_, "frontend"));
  }
  ~SegmentLoaderTest() override {
    if (!release_.try_wait()) release_.count_down();
  }

  // As an object of the store.
  v1::SegmentInfo PutSegment() {
    std::vector<Row> rows;
    for (uint64_t i = 0; i < 100; ++i) rows.push_back(MakeRow(std::to_string(i), i + 1));
    WrittenSegment written = WriteSegment(folder_, 0, rows);
    written.info.set_token(1);
    written.info.set_number(1);
    const auto path = objects_->NewTemporaryPath();
    WriteFile(path, ReadFile(written.path));
    EXPECT_TRUE(
        objects_->Put(SegmentObjectName(kCollection, Incarnation(1), written.info), path).ok());
    objects_.reset();
    std::filesystem::remove_all(settings_.cache);
    objects_ = Must(OpenObjectStore("s3://bucket/segments", settings_, "frontend"));
    return written.info;
  }

  const CollectionId kCollection = Must(ParseCollectionId("00112233-4455-6677-8899-aabbccddeeff"));
  TestFolder folder_;
  std::latch release_{1};
  FakeS3 s3_;
  ObjectSettings settings_;
  std::unique_ptr<ObjectStore> objects_;
  prometheus::Registry registry_;
  Metrics metrics_{registry_};
};

// Invariant 9 (bounded): a thread that answers reads.
TEST_F(SegmentLoaderTest, OneWhosePiecesAreDamagedIsNotWaitedForWithoutEndAndLoadedOnce) {
  const v1::SegmentInfo info = PutSegment();
  s3_.OnRequest([this](const FakeS3::Request& request) {
    if (request.headers.contains("range")) return Fault::kWrongBytes;
    if (request.method == "GET") release_.wait();
    return Fault::kNone;
  });
  SegmentLoader loader(*objects_, metrics_, 1, std::chrono::milliseconds(50));
  const auto open = [&] { return loader.Open(kCollection, Incarnation(1), info); };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(open().status().code(), absl::StatusCode::kUnavailable);
  }
  release_.count_down();
  auto segment = open();
  while (absl::IsUnavailable(segment.status())) segment = open();
  ASSERT_TRUE(segment.ok()) << segment.status();
  EXPECT_TRUE((*segment)->is_local());
  const auto gets = s3_.Requests("GET");
  EXPECT_EQ(std::ranges::count_if(
                gets, [](const auto& request) { return !request.headers.contains("range"); }),
            1);
}

TEST_F(SegmentLoaderTest, AStopDoesNotWaitForWhatIsBeingOpened) {
  const v1::SegmentInfo info = PutSegment();
  std::latch asked(1);
  s3_.OnRequest([&](const FakeS3::Request& request) {
    if (request.headers.contains("range")) return Fault::kWrongBytes;
    if (!asked.try_wait()) asked.count_down();
    release_.wait();
    return Fault::kNone;
  });
  // Without a stop it would wait for ever.
  SegmentLoader loader(*objects_, metrics_, 1, std::chrono::hours(1));
  std::jthread stopper([&] {
    asked.wait();
    loader.Stop();
  });
  EXPECT_EQ(loader.Open(kCollection, Incarnation(1), info).status().code(),
            absl::StatusCode::kCancelled);
  release_.count_down();
}

TEST(PauseAfterFailure, GrowsAndIsShortWhereTheStoreMayComeBackAtAnyTime) {
  using std::chrono::seconds;
  const auto pauses = [](const absl::Status& error) {
    std::vector<int64_t> all;
    for (std::chrono::steady_clock::duration pause{}; all.size() < 8;) {
      pause = PauseAfterFailure(pause, error);
      all.push_back(std::chrono::floor<seconds>(pause).count());
    }
    return all;
  };
  EXPECT_EQ(pauses(absl::UnavailableError("")), (std::vector<int64_t>{1, 2, 4, 8, 10, 10, 10, 10}));
  EXPECT_EQ(pauses(absl::DataLossError("")), (std::vector<int64_t>{1, 2, 4, 8, 16, 32, 60, 60}));
  EXPECT_EQ(PauseAfterFailure(seconds(60), absl::UnavailableError("")), seconds(10));
}

}  // namespace
}  // namespace sluice::frontend
