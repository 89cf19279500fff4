// Each client against a server that does what a test says: what comes back, and the class of each
// failure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <iterator>

#include "common/embed/hashing_embedder.h"
#include "common/embed/oip_client.h"
#include "common/embed/openai_client.h"
#include "common/embed/tei_client.h"
#include "tests/embedder/embedder_server.h"
#include "tests/support/temp_folder.h"

namespace sluice::embed {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Wrong = ::sluice::testing::Behaviour::Wrong;
using namespace std::chrono_literals;

constexpr uint32_t kDimension = 32;

class ClientsTest : public ::testing::TestWithParam<std::string> {
 protected:
  ClientsTest() {
    server::Settings declared;
    settings_.Declare(declared, "compactor.embedders.x");
    settings_.protocol = GetParam();
  }

  std::unique_ptr<Client> Connect() {
    if (GetParam() == "openai") return MakeOpenAiClient(server_.url(), settings_);
    auto client = GetParam() == "tei" ? MakeTeiClient(server_.grpc_address(), settings_)
                                      : MakeOipClient(server_.grpc_address(), settings_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  static Call CallOf(std::vector<std::string> texts) {
    return {
        .model = "test-model", .dimension = kDimension, .texts = std::move(texts), .deadline = 10s};
  }

  static Answer Wait(Client& client, const Call& call) {
    std::promise<Answer> answer;
    client.Embed(call, [&](Answer a) { answer.set_value(std::move(a)); });
    return answer.get_future().get();
  }
  Answer Embed(const std::vector<std::string>& texts) { return Wait(*Connect(), CallOf(texts)); }

  void Behave(Wrong wrong) {
    sluice::testing::Behaviour behaviour;
    behaviour.wrong = wrong;
    server_.Set(behaviour);
  }
  // The class of the failure of three texts, of which none has a vector.
  Fault FaultWhen(Wrong wrong) {
    Behave(wrong);
    const Answer answer = Embed({"a", "b", "c"});
    EXPECT_THAT(answer.vectors, IsEmpty());
    EXPECT_TRUE(answer.failure);
    if (!answer.failure) return Fault::kMisfit;
    EXPECT_FALSE(answer.failure->words.empty());
    return answer.failure->fault;
  }
  bool IsTei() const { return GetParam() == "tei"; }

  static std::vector<float> VectorOf(const std::string& text) {
    return HashingEmbedder(kDimension).Embed(text);
  }

  sluice::testing::EmbedderServer server_;
  EmbedderSettings settings_;
};

INSTANTIATE_TEST_SUITE_P(Protocols, ClientsTest, ::testing::Values("tei", "oip", "openai"),
                         [](const auto& protocol) { return protocol.param; });

TEST_P(ClientsTest, VectorsComeInTheOrderOfTheTexts) {
  const std::vector<std::string> texts{"one", "two \"quoted\"\n", "drei äöü",
                                       std::string(100'000, 'x')};
  for (const bool other_form : {false, true}) {
    sluice::testing::Behaviour behaviour;
    behaviour.other_form = other_form;
    server_.Set(behaviour);
    const Answer answer = Embed(texts);
    ASSERT_FALSE(answer.failure) << answer.failure->words;
    ASSERT_EQ(answer.vectors.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answer.vectors[i], VectorOf(texts[i])) << i;
  }
}

TEST_P(ClientsTest, TextsGoRawAndAsAColumnToo) {
  settings_.raw_tensors = true;
  settings_.column_tensors = true;
  const Answer answer = Embed({"one", "two"});
  ASSERT_FALSE(answer.failure) << answer.failure->words;
  EXPECT_EQ(answer.vectors[1], VectorOf("two"));
}

TEST_P(ClientsTest, AFullServerIsOverloaded) {
  EXPECT_EQ(FaultWhen(Wrong::kOverloaded), Fault::kOverloaded);
}

TEST_P(ClientsTest, AServerThatIsNotWellOrNotThereIsUnreachable) {
  EXPECT_EQ(FaultWhen(Wrong::kUnavailable), Fault::kUnreachable);
  settings_.ca_file.clear();
  const auto nowhere = GetParam() == "openai" ? MakeOpenAiClient("http://127.0.0.1:1/v1", settings_)
                       : IsTei()              ? *MakeTeiClient("127.0.0.1:1", settings_)
                                              : *MakeOipClient("127.0.0.1:1", settings_);
  const Answer answer = Wait(*nowhere, CallOf({"a"}));
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kUnreachable);
}

TEST_P(ClientsTest, AHangEndsAtTheDeadline) {
  Behave(Wrong::kHang);
  Call call = CallOf({"a"});
  call.deadline = 100ms;
  const auto start = std::chrono::steady_clock::now();
  const Answer answer = Wait(*Connect(), call);
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kUnreachable);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_P(ClientsTest, ACallThatRunsIsAnsweredBeforeItsClientIsGone) {
  Behave(Wrong::kHang);
  std::promise<Answer> answered;
  {
    const std::unique_ptr<Client> client = Connect();
    client->Embed(CallOf({"a"}), [&](Answer answer) { answered.set_value(std::move(answer)); });
  }
  const Answer answer = answered.get_future().get();
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kUnreachable);
}

TEST_P(ClientsTest, AnErrorInsideTheServerMakesItIll) {
  EXPECT_EQ(FaultWhen(Wrong::kInternal), Fault::kIll);
}

TEST_P(ClientsTest, AnAnswerThatCannotBeRightIsNeverTaken) {
  for (const Wrong wrong : {Wrong::kFewer, Wrong::kMore, Wrong::kDimension, Wrong::kNotFinite}) {
    EXPECT_EQ(FaultWhen(wrong), Fault::kIll) << static_cast<int>(wrong);
  }
  // tei.v1 has no form that could be garbled.
  if (IsTei()) return;
  EXPECT_EQ(FaultWhen(Wrong::kGarbage), Fault::kIll);
}

TEST_P(ClientsTest, ABrokenOffAnswerIsUnreachable) {
  Behave(Wrong::kAbort);
  const Answer answer = Embed({"a", "b", "c", "d"});
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kUnreachable);
  // What a stream had answered is kept.
  ASSERT_EQ(answer.vectors.size(), IsTei() ? 2u : 0u);
  EXPECT_FALSE(answer.names_the_text);
  if (!IsTei()) return;
  EXPECT_EQ(answer.vectors[1], VectorOf("b"));
}

TEST_P(ClientsTest, ARefusedTextIsToldWithTheServersWords) {
  const Answer answer = Embed({"a", std::string("b ") + sluice::testing::kRefusedMark, "c"});
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kRefused);
  EXPECT_THAT(answer.failure->words, HasSubstr("like this"));
  EXPECT_EQ(answer.names_the_text, IsTei());
  EXPECT_EQ(answer.vectors.size(), IsTei() ? 1u : 0u);
}

TEST_P(ClientsTest, AnotherModelIsAMisfit) {
  const std::unique_ptr<Client> client = Connect();
  std::promise<ServerLimits> limits;
  client->Describe(10s, [&](const std::optional<Failure>& failure, ServerLimits stated) {
    EXPECT_FALSE(failure);
    limits.set_value(stated);
  });
  EXPECT_EQ(limits.get_future().get().max_tokens, IsTei()               ? 16'384u
                                                  : GetParam() == "oip" ? 0u
                                                                        : 300'000u);
  Call call = CallOf({"a"});
  call.model = "another-model";
  const Answer answer = Wait(*client, call);
  ASSERT_TRUE(answer.failure);
  EXPECT_EQ(answer.failure->fault, Fault::kMisfit);
}

TEST_P(ClientsTest, TheTokenIsReadFromItsFileForEachCallAndPartOfNoError) {
  const sluice::testing::TempFolder folder;
  settings_.token_file = folder.path() / "token";
  sluice::testing::Behaviour behaviour;
  behaviour.token = "sesame-1";
  server_.Set(behaviour);
  const std::unique_ptr<Client> client = Connect();

  const Answer without = Wait(*client, CallOf({"a"}));
  ASSERT_TRUE(without.failure);
  EXPECT_EQ(without.failure->fault, Fault::kUnreachable);
  std::ofstream(settings_.token_file) << "sesame-2\n";
  const Answer wrong = Wait(*client, CallOf({"a"}));
  ASSERT_TRUE(wrong.failure);
  EXPECT_EQ(wrong.failure->fault, Fault::kUnreachable);
  EXPECT_THAT(wrong.failure->words, Not(HasSubstr("sesame")));
  std::ofstream(settings_.token_file) << "sesame-1\n";
  EXPECT_FALSE(Wait(*client, CallOf({"a"})).failure);
}

TEST_P(ClientsTest, OverTlsTheServerMustHaveACertificateThatWeTrust) {
  if (GetParam() == "openai") return;  // its TLS is libcurl's
  const std::string folder = SLUICE_SOURCE_DIR "/tests/embedder/testdata/";
  const auto read = [](const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const sluice::testing::TlsFiles files{read(folder + "certificate.pem"), read(folder + "key.pem")};
  const sluice::testing::EmbedderServer server({}, &files);
  settings_.tls = true;
  for (const bool trusted : {true, false}) {
    settings_.ca_file = trusted ? folder + "certificate.pem" : "";
    const auto client = IsTei() ? *MakeTeiClient(server.grpc_address(), settings_)
                                : *MakeOipClient(server.grpc_address(), settings_);
    Call call = CallOf({"a"});
    call.deadline = 5s;
    const Answer answer = Wait(*client, call);
    EXPECT_EQ(answer.failure.has_value(), !trusted);
    EXPECT_EQ(answer.failure.value_or(Failure{Fault::kUnreachable}).fault, Fault::kUnreachable);
  }
}

TEST(EmbedderSettingsTest, ATokenIsNotSentInPlainTextToAnotherMachine) {
  server::Settings declared;
  EmbedderSettings settings;
  settings.Declare(declared, "compactor.embedders.x");
  settings.token_env = "PATH";
  const auto check = [&](const char* protocol, const char* endpoints, bool tls) {
    settings.protocol = protocol;
    settings.endpoints = endpoints;
    settings.tls = tls;
    return settings.Check();
  };
  EXPECT_FALSE(check("tei", "dns:///tei:8080", false).ok());
  EXPECT_TRUE(check("tei", "dns:///tei:8080", true).ok());
  EXPECT_TRUE(check("oip", "127.0.0.1:8001, localhost:8001", false).ok());
  EXPECT_FALSE(check("oip", "127.0.0.1:8001,10.0.0.1:8001", false).ok());
  EXPECT_FALSE(check("openai", "http://127.0.0.1.example.com/v1", false).ok());
  EXPECT_TRUE(check("openai", "https://api.example.com/v1,http://[::1]:80/v1", false).ok());
  settings.token_env.clear();
  EXPECT_TRUE(check("tei", "dns:///tei:8080", false).ok());
  EXPECT_FALSE(check("tei", "http://tei:8080", false).ok());
  EXPECT_FALSE(check("openai", "tei:8080", false).ok());
  EXPECT_FALSE(check("openai", "https://user:secret@tei/v1", false).ok());
  EXPECT_FALSE(check("tei", " , ", false).ok());
}

TEST(MakeFailureTest, WordsAreBoundedAndUtf8) {
  EXPECT_EQ(MakeFailure(Fault::kIll, "a\nb\xff\xc3\xa4").words, "a?b?\xc3\xa4");
  std::string long_words;
  for (int i = 0; i < 400; ++i) long_words += "\xc3\xa4";
  EXPECT_EQ(MakeFailure(Fault::kIll, long_words).words.size(), kMaxWordsBytes);
}

TEST(OpenAiTest, IndexesMustBeOneForEachText) {
  const Call call{.texts = {"a", "b"}};
  const auto answer = [&](const std::string& data) {
    return OpenAiAnswer(call, {.status = 200, .body = "{\"data\":[" + data + "]}"});
  };
  const Answer swapped = answer(R"({"index":1,"embedding":[2]},{"index":0,"embedding":[1]})");
  ASSERT_FALSE(swapped.failure);
  EXPECT_EQ(swapped.vectors, (Vectors{{1}, {2}}));
  for (const char* const data : {R"({"index":0,"embedding":[2]},{"index":0,"embedding":[1]})",
                                 R"({"index":0,"embedding":[2]},{"index":2,"embedding":[1]})",
                                 R"({"embedding":[2]},{"embedding":[1]})",
                                 R"({"index":0,"embedding":["x"]},{"index":1,"embedding":[1]})",
                                 R"({"index":0,"embedding":"AAA"},{"index":1,"embedding":[1]})"}) {
    const Answer wrong = answer(data);
    ASSERT_TRUE(wrong.failure) << data;
    EXPECT_EQ(wrong.failure->fault, Fault::kIll) << data;
  }
}

}  // namespace
}  // namespace sluice::embed
