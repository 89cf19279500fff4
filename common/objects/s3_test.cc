#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/errors/errors.h"
#include "common/objects/fake_s3.h"
#include "common/objects/s3_store.h"
#include "common/objects/settings.h"
#include "common/objects/sha256.h"
#include "tests/support/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Fault = FakeS3::Fault;

class S3Test : public ::testing::Test {
 protected:
  S3Test() {
    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    unsetenv("AWS_SESSION_TOKEN");
    server::Settings declared;
    settings_.Declare(declared);
    settings_.cache = folder_.path() / "cache";
    settings_.endpoint = s3_.endpoint();
    settings_.timeout_ms = 20'000;
    Open();
  }

  // A process that starts; with `forget`, on a disk that knows nothing.
  void Open(bool forget = false) {
    store_.reset();
    if (forget) fs::remove_all(settings_.cache);
    store_ = *OpenObjectStore("s3://bucket/pre/fix", settings_, "test");
  }
  absl::Status Put(const std::string& name, const std::string& content) {
    const fs::path path = store_->NewTemporaryPath();
    std::ofstream(path) << content;
    return store_->Put(name, path);
  }
  absl::StatusOr<std::string> Read(const std::string& name) {
    SLUICE_ASSIGN_OR_RETURN(const ObjectFile file, store_->Fetch(name));
    std::stringstream content;
    content << std::ifstream(*file).rdbuf();
    return content.str();
  }
  // In parts of 5 MiB: three.
  std::string Large() const {
    std::string large(12 << 20, 'x');
    for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>('a' + i % 26);
    return large;
  }
  void UseSmallParts() {
    settings_.part_bytes = 5 << 20;
    Open();
  }

  const testing::TempFolder folder_;
  FakeS3 s3_;
  ObjectSettings settings_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(S3Test, AnObjectIsReadAsItWasPut) {
  ASSERT_EQ(Put("c/1", "content"), absl::OkStatus());
  EXPECT_EQ(s3_.Body("pre/fix/c/1"), "content");
  Open(true);
  EXPECT_EQ(*Read("c/1"), "content");
}

TEST_F(S3Test, AnEmptyObjectIsOne) {
  ASSERT_TRUE(Put("c/1", "").ok());
  Open(true);
  EXPECT_EQ(*Read("c/1"), "");
}

TEST_F(S3Test, WhatWasPutOrReadIsNotDownloadedAgain) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  EXPECT_EQ(*Read("c/1"), "content");
  EXPECT_THAT(s3_.Requests("GET"), IsEmpty());
  Open(true);
  EXPECT_EQ(*Read("c/1"), "content");
  EXPECT_EQ(*Read("c/1"), "content");
  EXPECT_THAT(s3_.Requests("GET"), SizeIs(1));
}

TEST_F(S3Test, AnObjectIsNeverReplaced) {
  ASSERT_TRUE(Put("c/1", "first").ok());
  const fs::path second = store_->NewTemporaryPath();
  std::ofstream(second) << "second";
  EXPECT_EQ(store_->Put("c/1", second).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::exists(second));
  EXPECT_EQ(s3_.Body("pre/fix/c/1"), "first");
}

TEST_F(S3Test, APutGoesThroughErrorsThatPass) {
  s3_.Fail("PUT",
           {Fault::k500, Fault::kSlowDown, Fault::kTooMany, Fault::kConflict, Fault::kBreak});
  EXPECT_TRUE(Put("c/1", "content").ok());
  EXPECT_EQ(s3_.Body("pre/fix/c/1"), "content");
  EXPECT_THAT(s3_.Requests("PUT"), SizeIs(6));
}

TEST_F(S3Test, APutWhoseFirstTryWasInHasSucceeded) {
  for (const Fault fault : {Fault::kDoneThenBreak, Fault::kDoneThen500}) {
    s3_.Fail("PUT", {fault});
    const std::string name = absl::StrCat("c/", static_cast<int>(fault));
    EXPECT_TRUE(Put(name, "content").ok());
    EXPECT_EQ(s3_.Body("pre/fix/" + name), "content");
  }
}

TEST_F(S3Test, ARetriedPutThatMeetsAnotherObjectHasLost) {
  s3_.Set("pre/fix/c/1", "another", Sha256Of("another"));
  s3_.Fail("PUT", {Fault::k500});
  EXPECT_EQ(Put("c/1", "content").code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(S3Test, AHangIsGivenUpAndTriedAgain) {
  settings_.stall_ms = 1'000;
  Open();
  s3_.Fail("PUT", {Fault::kHang});
  EXPECT_TRUE(Put("c/1", "content").ok());
  Open(true);
  s3_.Fail("GET", {Fault::kHang});
  EXPECT_EQ(*Read("c/1"), "content");
}

TEST_F(S3Test, RetriesEndWithTheTime) {
  settings_.timeout_ms = 3'000;
  Open();
  s3_.Fail("PUT", std::vector<Fault>(100, Fault::kSlowDown));
  const absl::Status error = Put("c/1", "content");
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("503 SlowDown"));
}

TEST_F(S3Test, ADownloadGoesOnWhereItBrokeOff) {
  const std::string large = Large();
  ASSERT_TRUE(Put("c/1", large).ok());
  Open(true);
  s3_.Fail("GET", {Fault::kTruncate, Fault::k500, Fault::kTruncate});
  EXPECT_EQ(*Read("c/1"), large);
  const auto gets = s3_.Requests("GET");
  ASSERT_THAT(gets, SizeIs(4));
  EXPECT_EQ(gets[1].headers.at("range"), absl::StrCat("bytes=", large.size() / 2, "-"));
  EXPECT_EQ(gets[1].headers.at("if-match"), "\"e1\"");
  EXPECT_EQ(gets[3].headers.at("range"), absl::StrCat("bytes=", large.size() * 3 / 4, "-"));
}

TEST_F(S3Test, WrongBytesAreFetchedAnew) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  Open(true);
  s3_.Fail("GET", {Fault::kWrongBytes});
  EXPECT_EQ(*Read("c/1"), "content");
}

TEST_F(S3Test, BytesThatStayWrongAreCorruptAndNotKept) {
  s3_.Set("pre/fix/c/1", "content", Sha256Of("another"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ReasonOf(store_->Fetch("c/1").status()), Reason::SEGMENT_CORRUPT);
  }
  s3_.Set("pre/fix/c/2", "content", "");
  EXPECT_EQ(ReasonOf(store_->Fetch("c/2").status()), Reason::SEGMENT_CORRUPT);
}

TEST_F(S3Test, APieceIsReadAndNoMoreThanThat) {
  const std::string large = Large();
  ASSERT_TRUE(Put("c/1", large).ok());
  Open(true);
  const auto reader = *store_->OpenReader("c/1", large.size());
  EXPECT_EQ(*reader->Read(5'000, 300), large.substr(5'000, 300));
  EXPECT_EQ(*reader->Read(large.size() - 7, 7), large.substr(large.size() - 7));
  EXPECT_EQ(*reader->Read(7, 0), "");
  EXPECT_EQ(s3_.bytes_sent(), 307);
  EXPECT_EQ(store_->FetchLocal("c/1"), nullptr);
  ASSERT_TRUE(store_->Fetch("c/1").ok());
  EXPECT_NE(store_->FetchLocal("c/1"), nullptr);
}

TEST_F(S3Test, APieceThatIsNotWhatWasAskedForIsAskedForAgain) {
  ASSERT_TRUE(Put("c/1", "0123456789").ok());
  const auto reader = *store_->OpenReader("c/1", 10);
  s3_.Fail("GET", {Fault::kWhole, Fault::kShort, Fault::kTruncate, Fault::k500, Fault::kBreak});
  EXPECT_EQ(*reader->Read(2, 4), "2345");
  EXPECT_THAT(s3_.Requests("GET"), SizeIs(6));
}

TEST_F(S3Test, APieceThatNeverComesIsGivenUpWithTheTime) {
  settings_.timeout_ms = 1'000;
  Open();
  ASSERT_TRUE(Put("c/1", "0123456789").ok());
  const auto reader = *store_->OpenReader("c/1", 10);
  s3_.Fail("GET", std::vector<Fault>(100, Fault::kWhole));
  const absl::Status error = reader->Read(2, 4).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()), HasSubstr("other bytes than 2-5"));
}

TEST_F(S3Test, PiecesAreOfOneObject) {
  ASSERT_TRUE(Put("c/1", "0123456789").ok());
  const auto reader = *store_->OpenReader("c/1", 10);
  EXPECT_EQ(*reader->Read(2, 4), "2345");
  s3_.Set("pre/fix/c/1", "abcdefghij", Sha256Of("abcdefghij"));
  EXPECT_EQ(reader->Read(2, 4).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*(*store_->OpenReader("c/1", 10))->Read(2, 4), "cdef");
  EXPECT_EQ(ReasonOf((*store_->OpenReader("c/1", 11))->Read(2, 4).status()),
            Reason::SEGMENT_CORRUPT);
  s3_.Remove("pre/fix/c/1");
  EXPECT_EQ(reader->Read(2, 4).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(S3Test, APieceOfAnObjectThatWasCutOffIsCorrupt) {
  s3_.Set("pre/fix/c/1", "01234", "");
  const auto reader = *store_->OpenReader("c/1", 10);
  // Before its end, across it, and beyond it.
  for (const uint64_t from : {1, 3, 6}) {
    EXPECT_EQ(ReasonOf(reader->Read(from, 4).status()), Reason::SEGMENT_CORRUPT);
  }
}

TEST_F(S3Test, AFetchEndsWhenItIsGivenUp) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  Open(true);
  s3_.Fail("GET", std::vector<Fault>(100, Fault::kSlowDown));
  EXPECT_EQ(store_->Fetch("c/1", {.deadline = std::chrono::steady_clock::now()}).status().code(),
            absl::StatusCode::kUnavailable);
  std::stop_source stop;
  std::jthread other([&] {
    EXPECT_EQ(store_->Fetch("c/1", {.given_up = stop.get_token()}).status().code(),
              absl::StatusCode::kCancelled);
  });
  while (s3_.Requests("GET").size() < 3) {
  }
  stop.request_stop();
}

TEST_F(S3Test, AMissingObjectIsNotFoundAndAMissingBucketIsNot) {
  EXPECT_EQ(store_->Fetch("c/1").status().code(), absl::StatusCode::kNotFound);
  settings_.cache += "2";
  const auto other = *OpenObjectStore("s3://other-bucket", settings_, "test");
  EXPECT_EQ(other->Fetch("c/1").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(S3Test, DeleteForgetsAndMayBeRepeated) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  s3_.Fail("DELETE", {Fault::kDoneThenBreak});
  EXPECT_TRUE(store_->Delete("c/1").ok());
  EXPECT_TRUE(store_->Delete("c/1").ok());
  EXPECT_EQ(store_->Fetch("c/1").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(S3Test, ListIsSortedKeepsToItsPrefixAndTurnsPages) {
  s3_.set_page(2);
  for (const char* name : {"c/2/1", "c/1/10", "c/1/9", "cc/1/1", "d"}) {
    ASSERT_TRUE(Put(name, "x").ok());
  }
  s3_.Set("elsewhere", "x", "");
  EXPECT_THAT(*store_->List("c"), ElementsAre("c/1/10", "c/1/9", "c/2/1"));
  EXPECT_THAT(*store_->List(""), ElementsAre("c/1/10", "c/1/9", "c/2/1", "cc/1/1", "d"));
  EXPECT_THAT(*store_->List("e"), IsEmpty());
}

TEST_F(S3Test, ALargeObjectGoesInParts) {
  UseSmallParts();
  const std::string large = Large();
  s3_.Fail("PUT", {Fault::kNone, Fault::kSlowDown});
  ASSERT_TRUE(Put("c/1", large).ok());
  EXPECT_THAT(s3_.Requests("PUT"), SizeIs(4));
  Open(true);
  EXPECT_EQ(*Read("c/1"), large);
  EXPECT_EQ(Put("c/1", large).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(s3_.uploads(), 0);
}

TEST_F(S3Test, ALargePutWhoseCompletionWasInHasSucceeded) {
  UseSmallParts();
  s3_.Fail("POST", {Fault::kNone, Fault::kDoneThenBreak});
  EXPECT_TRUE(Put("c/1", Large()).ok());
}

TEST_F(S3Test, SecretsComeFromTheFileAnewForEachRequest) {
  const fs::path file = folder_.path() / "credentials";
  settings_.credentials_file = file;
  settings_.timeout_ms = 500;
  Open();
  EXPECT_EQ(Put("c/1", "x").code(), absl::StatusCode::kUnavailable);
  settings_.timeout_ms = 20'000;
  Open();
  const auto write = [&](const char* id) {
    std::ofstream(file) << "[default]\naws_access_key_id = " << id
                        << "\naws_secret_access_key = s\naws_session_token=t==\n[other]\n"
                           "aws_access_key_id = no\n";
  };
  write("one");
  ASSERT_TRUE(Put("c/1", "x").ok());
  write("two");
  ASSERT_TRUE(Put("c/2", "x").ok());
  const auto puts = s3_.Requests("PUT");
  EXPECT_THAT(puts.at(0).headers.at("authorization"), HasSubstr("Credential=one/"));
  EXPECT_THAT(puts.at(1).headers.at("authorization"), HasSubstr("Credential=two/"));
  EXPECT_EQ(puts.at(1).headers.at("x-amz-security-token"), "t==");
}

TEST_F(S3Test, CredentialsThatAreReplacedWhileTheyAreRefusedAreTaken) {
  s3_.Fail("PUT", {Fault::kWrongKey, Fault::kWrongSignature, Fault::kExpired});
  EXPECT_EQ(Put("c/1", "content"), absl::OkStatus());
  Open(true);
  s3_.Fail("GET", {Fault::kExpired});
  EXPECT_EQ(*Read("c/1"), "content");
  s3_.Fail("GET", {Fault::kExpired});
  EXPECT_EQ(*(*store_->OpenReader("c/1", 7))->Read(0, 3), "con");
}

TEST_F(S3Test, CredentialsHaveTheirTimeAlsoAfterOtherErrors) {
  ASSERT_TRUE(Put("c/1", "content").ok());
  Open(true);
  std::vector<Fault> faults(6, Fault::k500);
  faults.push_back(Fault::kExpired);
  s3_.Fail("GET", faults);
  EXPECT_EQ(*Read("c/1"), "content");
}

TEST_F(S3Test, CredentialsThatStayWrongAreSaidLongBeforeTheTimeIsUp) {
  settings_.timeout_ms = 3'600'000;
  Open();
  s3_.Fail("PUT", std::vector<Fault>(100, Fault::kWrongKey));
  const absl::Status error = Put("c/1", "content");
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(error.message()),
              HasSubstr("does not accept the credentials (InvalidAccessKeyId)"));
  settings_.credentials_file = folder_.path() / "nowhere";
  Open();
  EXPECT_THAT(std::string(store_->Fetch("c/1").status().message()),
              HasSubstr("cannot read the credentials' file"));
}

TEST_F(S3Test, WhatNoTimeHealsIsSaidAtOnce) {
  s3_.Fail("PUT", {Fault::kDenied});
  EXPECT_THAT(std::string(Put("c/1", "content").message()),
              HasSubstr("denies access (403 AccessDenied)"));
  s3_.Fail("GET", {Fault::kSkewed});
  EXPECT_THAT(std::string(store_->Fetch("c/1").status().message()),
              HasSubstr("the clock of this machine differs"));
  EXPECT_THAT(s3_.Requests("PUT"), SizeIs(1));
  EXPECT_THAT(s3_.Requests("GET"), SizeIs(1));
}

TEST_F(S3Test, TheBucketMayBePartOfTheHost) {
  settings_.path_style = false;
  settings_.endpoint = absl::StrCat("http://localhost:", s3_.port());
  Open();
  EXPECT_FALSE(Put("c/1", "x").ok());
  const auto puts = s3_.Requests("PUT");
  ASSERT_FALSE(puts.empty());
  EXPECT_EQ(puts[0].headers.at("host"), absl::StrCat("bucket.localhost:", s3_.port()));
  EXPECT_EQ(puts[0].uri, "/pre/fix/c/1");
}

TEST_F(S3Test, PlacesThatAreNoneAreRefused) {
  for (const char* place : {"s3://", "s3://b", "s3://bucket/a//b", "s3://bucket/../b",
                            "s3://bucket/a b", "http://bucket/a", "s3://buc?et"}) {
    EXPECT_EQ(OpenObjectStore(place, settings_, "other").status().code(),
              absl::StatusCode::kInvalidArgument)
        << place;
  }
  settings_.endpoint = "http://127.0.0.1/path";
  EXPECT_EQ(OpenObjectStore("s3://bucket", settings_, "other").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(S3Test, TheReadmeHoldsEverySetting) {
  std::ifstream file(SLUICE_SOURCE_DIR "/common/objects/README.md");
  std::stringstream readme;
  readme << file.rdbuf();
  server::Settings declared;
  ObjectSettings settings;
  settings.Declare(declared);
  EXPECT_THAT(readme.str(), HasSubstr(declared.Reference()));
}

}  // namespace
}  // namespace sluice
